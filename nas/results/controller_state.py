"""Diagnostics of a controller after each outcome, recovered from the journal."""

from __future__ import annotations

from collections.abc import Sequence

from nas.search.config import SearchConfig, build_space, code_of
from nas.search.proposing import build_controller, history
from nas.search.records import SEARCH, Trial
from search_space.references import is_trusted

Series = dict[str, list[tuple[int, float]]]
"""Name -> (outcomes so far, value)."""


def controller_state(config: SearchConfig, trials: Sequence[Trial]) -> Series:
    """`Controller.diagnostics` after each outcome; empty for controllers that have none, for code that is not trusted,
    and for a journal that this version cannot replay: its results are worth a report all the same.
    """
    if not all(map(is_trusted, code_of(config))):
        return {}
    controller = build_controller(config, build_space(config))
    if not controller.has_diagnostics:
        return {}
    proposals, outcomes = history([trial for trial in trials if trial.candidate.origin == SEARCH], config.reward)
    try:
        controller.replay(proposals, [])
    except ValueError:
        return {}
    series: Series = {}
    for count, outcome in enumerate(outcomes, start=1):
        controller.observe([outcome])
        for name, value in controller.diagnostics().items():
            series.setdefault(name, []).append((count, value))
    return series
