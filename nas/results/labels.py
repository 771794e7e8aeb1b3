"""Names of necks in tables and text."""

from __future__ import annotations

from nas.search.config import SearchConfig
from nas.search.constraints import violations
from nas.search.records import KNOWN_PREFIX, Trial


def neck_name(config: SearchConfig, trial: Trial) -> str:
    """A known neck by its name, a found one by its trial."""
    if trial.candidate.is_known:
        return trial.candidate.origin.removeprefix(KNOWN_PREFIX) + over_limits(config, trial)
    return f"trial {trial.number} ({trial.candidate.origin})"


def over_limits(config: SearchConfig, trial: Trial) -> str:
    """A mark for known necks over a limit: they are scored as references, but could not have been found."""
    broken = violations(config.constraints, trial.metrics)
    return f" (over {', '.join(violation.limit for violation in broken)})" if broken else ""
