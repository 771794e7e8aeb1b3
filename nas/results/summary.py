"""A journal read as results: what is done, what is best, and how the found necks compare with the known ones."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nas.bounds import MAX_TRIALS
from nas.results.confirmed import verdict_of, verdict_record
from nas.results.front import pareto_front
from nas.results.labels import known_name, neck_name, over_limits
from nas.results.time_left import estimated_left
from nas.search.config import SearchConfig
from nas.search.confirmation import trials_left
from nas.search.records import KNOWN_PREFIX, RANDOM, SEARCH, Trial
from nas.search.reward import AVERAGE_PRECISION, figures
from nas.search.standings import best, best_found, found, scored

COLUMNS = ("AP", "AP50", "APs", "APm", "APl", "params", "macs", "latency_ms")
"""Metrics of the tables; AP in percent, cost of the neck alone."""

STATES = ("complete", "stopped", "failed", "running")

TITLES = {"params": "k params", "macs": "M MACs", "latency_ms": "ms"}
COST_TITLES = {"params": "parameters", "macs": "multiply-adds", "latency_ms": "latency"}
_UNITS = {"params": 1e3, "macs": 1e6}


@dataclass(frozen=True)
class Row:
    """One line of the closing table: a label, and the trial behind it (None where nothing was scored)."""

    label: str
    trial: Trial | None


def trained(trials: Sequence[Trial], origin: str) -> list[Trial]:
    """Candidates of an origin that are done: trained to the end, or stopped early for being behind."""
    return [t for t in trials if t.state in ("complete", "stopped") and t.candidate.origin == origin]


def closing_rows(config: SearchConfig, trials: Sequence[Trial]) -> list[Row]:
    """Best of the search, best of the random baseline, then every known neck."""
    rows = [
        Row(f"{config.controller.name}, best of {_num_new(trials, SEARCH)}", best(found(trials, SEARCH))),
        Row(f"random, best of {_num_new(trials, RANDOM)}", best(found(trials, RANDOM))),
    ]
    for name in config.known:
        trial = best(scored(trials, KNOWN_PREFIX + name))
        rows.append(Row(name if trial is None else neck_name(config, trial), trial))
    return rows


def _num_new(trials: Sequence[Trial], origin: str) -> int:
    """Candidates that are done and no published necks."""
    return len(found(trials, origin)) + sum(trial.state == "stopped" for trial in trained(trials, origin))


def front_rows(config: SearchConfig, trials: Sequence[Trial]) -> list[Row]:
    """The Pareto front over the configured cost, cheapest first; known necks by name, the rest by trial number."""
    rows = []
    for trial in pareto_front(trials, config.reward.cost, config.reward.metric):
        known = f"{known_name(trial)} (known)" if trial.candidate.is_known else ""
        name = known or f"trial {trial.number} ({trial.candidate.origin})"
        rows.append(Row(name + over_limits(config, trial), trial))
    return rows


def front_title(config: SearchConfig) -> str:
    """Title of the table of `front_rows`."""
    return f"Pareto front: {config.reward.metric} against {cost_titles(config)[config.reward.cost]}"


def cost_titles(config: SearchConfig) -> dict[str, str]:
    """Costs of a search by metric, the user's own ones by their names."""
    own = (*config.constraints.max_costs, config.reward.cost)
    return {name: name for name in own if name not in COST_TITLES} | COST_TITLES


def columns(config: SearchConfig, trials: Sequence[Trial]) -> tuple[str, ...]:
    """Columns of the tables, the reward first where it is none of the metrics; those that no trial has are left out."""
    name = config.reward.name
    own = [cost for cost in cost_titles(config) if cost not in COLUMNS]
    names = dict.fromkeys([*([] if name in COLUMNS else [name]), *COLUMNS, *own])
    done = [trial.metrics for trial in trials if trial.reward is not None]
    return tuple(each for each in names if not done or each == name or any(m.get(each) is not None for m in done))


def rejections(trials: Sequence[Trial]) -> str:
    """How many candidates were rejected and by which limits, as one phrase; empty if none."""
    rejected = [trial.rejected for trial in trials if trial.rejected]
    if not rejected:
        return ""
    counts = Counter(limit for limits in rejected for limit in limits)
    parts = ", ".join(f"{count} by {limit}" for limit, count in counts.items())
    return f"{len(rejected)} candidates were over a limit and not trained ({parts})"


def steps_by_side(config: SearchConfig, trials: Sequence[Trial]) -> dict[str, int]:
    """Training steps of the controller's candidates, the random ones, the known necks and the confirmation, so that one
    sees how fair a comparison is; shared results cost none. Empty for a journal that does not say them.
    """
    done = [trial for trial in trials if trial.state in ("complete", "stopped") and trial.copied_from is None]
    if any(trial.metrics.get("steps") is None for trial in done):
        return {}
    steps: Counter[str] = Counter()
    for trial in done:
        steps[_side(config, trial)] += int(trial.metrics["steps"])
    return dict(steps)


def _side(config: SearchConfig, trial: Trial) -> str:
    kind = trial.candidate.kind
    if kind != "proposed":
        return {"known": "known necks"}.get(kind, kind)
    return config.controller.name if trial.candidate.origin == SEARCH else "random"


def steps_line(config: SearchConfig, trials: Sequence[Trial]) -> str:
    """`steps_by_side` as one phrase; empty where there is nothing to say."""
    parts = ", ".join(f"{name} {steps:,}" for name, steps in steps_by_side(config, trials).items())
    return f"training steps: {parts}" if parts else ""


def candidates(config: SearchConfig) -> str:
    """Number of the controller's candidates, or the budget in words where that alone limits it."""
    if config.trials < MAX_TRIALS:
        return f"up to {config.trials}" if config.budget.is_set else str(config.trials)
    budget = config.budget
    limits = [f"{budget.hours:g} h"] if budget.hours is not None else []
    limits += [f"{budget.gpu_hours:g} GPU-hours"] if budget.gpu_hours is not None else []
    return f"as many as fit in {' and '.join(limits)}"


def searcher_name(config: SearchConfig) -> str:
    """The controller and what it started from."""
    start = f" from {', '.join(config.controller.initial)}" if config.controller.initial else ""
    return config.controller.name + start


def cell(trial: Trial, column: str) -> str:
    """A metric, or the reward, as the tables show it: average precisions and costs with one decimal."""
    value = trial.reward if column == "reward" else trial.metrics.get(column)
    if value is None:
        return "-"
    if column in COLUMNS or AVERAGE_PRECISION.fullmatch(column):
        return f"{value / _UNITS.get(column, 1):.1f}"
    return figures(value)


def status(config: SearchConfig, trials: Sequence[Trial], live: bool) -> dict[str, Any]:
    """State of a run for `nasfpn status`; `running` counts trials in work, or cut off when no search is live.

    Rejected candidates are counted apart from failed ones, and are none of the `total`. `best` and `best_found` are as
    observed, one training each. `seconds_left` supposes that as many trials are in work until the end; it is None
    at the end, and as long as nothing was trained.
    """
    rejected = sum(bool(trial.rejected) for trial in trials)
    trials = [trial for trial in trials if not trial.rejected]
    counts = {state: sum(trial.state == state for trial in trials) for state in STATES}
    finished = len(trials) - counts["running"]
    begun = Counter(trial.candidate.origin for trial in trials if trial.candidate.is_candidate)
    left = trials_left(config.planned_trials(config.budget_of(trials), begun), config.confirm, trials)
    total = finished + left
    verdict = verdict_of(config, trials)
    leader = best(scored(trials))
    newest = best_found(trials)
    return {
        "name": config.name,
        "state": "running" if live else "finished" if finished >= total else "interrupted",
        "total": total,
        "finished": counts["complete"],
        "stopped": counts["stopped"],
        "failed": counts["failed"],
        "rejected": rejected,
        "running": counts["running"],
        "seconds_left": estimated_left(trials, left, max(1, counts["running"])) if left else None,
        "training_steps": steps_by_side(config, trials),
        "best": None if leader is None else describe(config, leader),
        "best_found": None if newest is None else describe(config, newest),
        "confirmed": None if verdict is None else verdict_record(config, verdict),
    }


def describe(config: SearchConfig, trial: Trial) -> dict[str, Any]:
    """A scored trial as plain data."""
    return {
        "trial": trial.number,
        "origin": trial.candidate.origin,
        "channels": trial.candidate.channels or config.proxy.neck.channels,
        "reward": trial.reward,
        "fingerprint": trial.candidate.genotype.fingerprint,
        "metrics": dict(trial.metrics),
    }


def failure_reasons(trials: Sequence[Trial]) -> dict[str, list[int]]:
    """Reasons of failed trials, the most frequent first, with their numbers; those that differ in figures alone (`loss
    is nan at step 3`) are one, named after the first. Rejected candidates are none."""
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        if trial.state == "failed" and not trial.rejected:
            groups.setdefault(re.sub(r"\d+", "#", trial.error or "no reason was given"), []).append(trial)
    ranked = sorted(groups.values(), key=lambda group: -len(group))
    return {group[0].error or "no reason was given": [trial.number for trial in group] for group in ranked}
