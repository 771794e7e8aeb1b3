"""A journal read as results: what is done, what is best, and how the found necks compare with the known ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nas.search.config import SearchConfig
from nas.search.journal import KNOWN_PREFIX, RANDOM, SEARCH, Trial

COLUMNS = ("AP", "AP50", "APs", "APm", "APl", "params", "macs", "latency_ms")
"""Metrics of the closing table; AP in percent, cost of the neck alone."""

TITLES = {"params": "k params", "macs": "M MACs", "latency_ms": "ms"}
_UNITS = {"params": 1e3, "macs": 1e6}


@dataclass(frozen=True)
class Row:
    """One line of the closing table: a label, and the trial behind it (None where nothing was scored)."""

    label: str
    trial: Trial | None


def scored(trials: Sequence[Trial], origin: str | None = None) -> list[Trial]:
    """Trials with a reward, of one origin or of all."""
    return [t for t in trials if t.reward is not None and origin in (None, t.candidate.origin)]


def best(trials: Sequence[Trial]) -> Trial | None:
    """The highest reward; of equals the earliest."""
    return max(trials, key=lambda trial: (trial.reward or 0.0, -trial.number), default=None)


def known_necks(trials: Sequence[Trial]) -> list[Trial]:
    """Scored trials of published necks."""
    return [trial for trial in scored(trials) if trial.candidate.origin.startswith(KNOWN_PREFIX)]


def found(trials: Sequence[Trial], origin: str) -> list[Trial]:
    """Scored candidates of one origin that are no published neck: a search may start from one."""
    known = {trial.candidate.genotype.fingerprint for trial in known_necks(trials)}
    return [trial for trial in scored(trials, origin) if trial.candidate.genotype.fingerprint not in known]


def best_found(trials: Sequence[Trial]) -> Trial | None:
    """The best new neck that the search came upon: by its controller or its random baseline."""
    return best(found(trials, SEARCH) + found(trials, RANDOM))


def closing_rows(config: SearchConfig, trials: Sequence[Trial]) -> list[Row]:
    """Best of the search, best of the random baseline, then every known neck."""
    rows = [
        Row(f"{config.controller.name}, best of {len(found(trials, SEARCH))}", best(found(trials, SEARCH))),
        Row(f"random, best of {len(found(trials, RANDOM))}", best(found(trials, RANDOM))),
    ]
    return rows + [Row(name, best(scored(trials, KNOWN_PREFIX + name))) for name in config.known]


def searcher_name(config: SearchConfig) -> str:
    """The controller and what it started from."""
    start = f" from {', '.join(config.controller.initial)}" if config.controller.initial else ""
    return config.controller.name + start


def cell(trial: Trial, column: str) -> str:
    """A metric as the tables show it."""
    value = trial.metrics.get(column)
    if value is None:
        return "-"
    return f"{value / _UNITS.get(column, 1):.1f}"


def status(config: SearchConfig, trials: Sequence[Trial], live: bool) -> dict[str, Any]:
    """What `nasfpn status` prints; `running` counts trials in work, or cut off when no search is live."""
    total = max(config.total_trials, len(trials))
    counts = {state: sum(trial.state == state for trial in trials) for state in ("complete", "failed", "running")}
    finished = counts["complete"] + counts["failed"]
    leader = best(scored(trials))
    newest = best_found(trials)
    return {
        "name": config.name,
        "state": "running" if live else "finished" if finished >= total else "interrupted",
        "total": total,
        "finished": counts["complete"],
        "failed": counts["failed"],
        "running": counts["running"],
        "best": None if leader is None else describe(leader),
        "best_found": None if newest is None else describe(newest),
    }


def describe(trial: Trial) -> dict[str, Any]:
    """A scored trial as plain data."""
    return {
        "trial": trial.number,
        "origin": trial.candidate.origin,
        "reward": trial.reward,
        "fingerprint": trial.candidate.genotype.fingerprint,
        "metrics": dict(trial.metrics),
    }
