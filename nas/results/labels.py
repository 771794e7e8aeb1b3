"""Names of necks in tables and text."""

from __future__ import annotations

from nas.search.config import SearchConfig
from nas.search.constraints import violations
from nas.search.records import KNOWN_PREFIX, Trial


def neck_name(config: SearchConfig, trial: Trial) -> str:
    """A known neck by its name and width, a found one by its trial."""
    if trial.candidate.is_known:
        return known_name(trial) + over_limits(config, trial)
    return f"trial {trial.number} ({trial.candidate.origin})"


def known_name(trial: Trial) -> str:
    """A known neck by its name, with its channels where it has a width of its own: `bifpn, 44 channels`."""
    return trial.candidate.origin.removeprefix(KNOWN_PREFIX) + width_note(trial)


def width_note(trial: Trial) -> str:
    """Channels, to be put behind a name; empty for the width of the search's candidates."""
    return "" if trial.candidate.channels is None else f", {trial.candidate.channels} channels"


def over_limits(config: SearchConfig, trial: Trial) -> str:
    """A mark for known necks over a limit: they are scored as references, but could not have been found."""
    broken = violations(config.constraints, trial.metrics)
    return f" (over {', '.join(violation.limit for violation in broken)})" if broken else ""
