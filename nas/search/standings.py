"""Scored trials in their groups, and the best of them."""

from __future__ import annotations

from collections.abc import Sequence

from nas.search.records import RANDOM, SEARCH, Trial

SEARCH_ORIGINS = (SEARCH, RANDOM)
"""Origins whose candidates are new necks."""


def scored(trials: Sequence[Trial], origin: str | None = None) -> list[Trial]:
    """Candidates that were trained to the end and have a reward, of one origin or of all."""
    return [
        trial
        for trial in trials
        if trial.state == "complete" and trial.candidate.is_candidate and origin in (None, trial.candidate.origin)
    ]


def best(trials: Sequence[Trial]) -> Trial | None:
    """The highest reward; of equals the earliest."""
    return max(trials, key=lambda trial: (trial.reward or 0.0, -trial.number), default=None)


def known_necks(trials: Sequence[Trial]) -> list[Trial]:
    """Scored trials of published necks."""
    return [trial for trial in scored(trials) if trial.candidate.is_known]


def found(trials: Sequence[Trial], origin: str) -> list[Trial]:
    """Scored candidates of one origin that are no published neck: a search may start from one."""
    known = {trial.candidate.genotype.fingerprint for trial in known_necks(trials)}
    return [trial for trial in scored(trials, origin) if trial.candidate.genotype.fingerprint not in known]


def best_found(trials: Sequence[Trial]) -> Trial | None:
    """The best new neck as it was observed, of the controller or the random baseline."""
    return best([trial for origin in SEARCH_ORIGINS for trial in found(trials, origin)])


def ranked(trials: Sequence[Trial], count: int) -> list[Trial]:
    """The best `count` by observed reward, no function twice."""
    chosen: dict[str, Trial] = {}
    for trial in sorted(trials, key=lambda trial: (-(trial.reward or 0.0), trial.number)):
        if len(chosen) < count:
            chosen.setdefault(trial.candidate.genotype.fingerprint, trial)
    return list(chosen.values())
