"""The best necks of a search, trained in full with several seeds and scored on images that no search has seen."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

from nas.comparison.equal_cost import Contender
from nas.comparison.necks import KNOWN_GROUP, RANDOM_GROUP, NamedNeck
from nas.comparison.result_store import ResultStore
from nas.comparison.training_job import TrainingJob
from nas.errors import UserError
from nas.proxy.config import ProxyConfig
from nas.search.config import SearchConfig, data_of
from nas.search.confirmation import Confirmation
from nas.search.records import KNOWN_PREFIX, RANDOM, SEARCH, Trial
from nas.search.standings import found, known_necks, ranked

FOUND_GROUP = "found"
MACS_TOLERANCE = 0.1
"""Share by which the multiply-adds of contenders may differ from the goal; else their comparison is marked."""

T_QUANTILES = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145)
"""97.5 % quantiles of Student's t with 1, 2, ... degrees of freedom; beyond, the last one, a little too wide."""


@dataclass(frozen=True)
class Standing:
    """A contender's AP on the test split, one per seed, and the 95 % interval of its mean."""

    contender: Contender
    aps: tuple[float, ...]
    mean: float
    margin: float
    params: int
    latency_ms: float


def contenders(config: SearchConfig, trials: Sequence[Trial], top: int) -> list[NamedNeck]:
    """The best `top` necks found, all known ones of the search, and its best `top` random ones; none twice, so that a
    known one that was found as well stands as known.

    The confirmed ones come first, in the order of their confirmation, then the others as they were observed.

    Raises:
        UserError: if nothing found was scored.
    """
    verdict = Confirmation(config.confirm, trials).verdict()
    confirmed = [] if verdict is None else [standing.trial for standing in verdict.standings]
    published = ranked(known_necks(trials), len(trials))
    chosen = [
        NamedNeck(trial.candidate.origin.removeprefix(KNOWN_PREFIX), KNOWN_GROUP, trial.candidate.genotype)
        for trial in published
    ]
    taken = {trial.candidate.genotype.fingerprint for trial in published}
    for origin, group in ((SEARCH, FOUND_GROUP), (RANDOM, RANDOM_GROUP)):
        first = [trial for trial in confirmed if trial.candidate.origin == origin]
        best = _new([*first, *ranked(found(trials, origin), len(trials))], taken)[:top]
        if group == FOUND_GROUP and not best:
            raise UserError("the search has no finished candidate of its own yet, so there is nothing to train in full")
        taken |= {trial.candidate.genotype.fingerprint for trial in best}
        chosen += [
            NamedNeck(f"{group} {place} (trial {trial.number})", group, trial.candidate.genotype)
            for place, trial in enumerate(best, start=1)
        ]
    return chosen


def _new(trials: Sequence[Trial], taken: Set[str]) -> list[Trial]:
    """Trials of functions that are not in `taken`, the first of each."""
    firsts: dict[str, Trial] = {}
    for trial in trials:
        firsts.setdefault(trial.candidate.genotype.fingerprint, trial)
    return [trial for fingerprint, trial in firsts.items() if fingerprint not in taken]


def counts(trials: Sequence[Trial]) -> dict[str, int]:
    """From how many candidates the best found and the best random ones were chosen."""
    finished = [trial.candidate.origin for trial in trials if trial.state in ("complete", "stopped")]
    return {FOUND_GROUP: finished.count(SEARCH), RANDOM_GROUP: finished.count(RANDOM)}


def final_jobs(
    config: SearchConfig, proxy: ProxyConfig, entries: Sequence[Contender], seeds: int, content: str = ""
) -> dict[Contender, list[TrainingJob]]:
    """The trainings of each contender, scored on the test split.

    Args:
        proxy: the long training.
        content: see `TrainingJob`.
    """
    return {
        entry: [
            TrainingJob(
                entry.neck.label,
                entry.neck.group,
                entry.neck.topology,
                replace(proxy, neck=replace(proxy.neck, channels=entry.channels)),
                data_of(config),
                seed,
                content,
                split="test",
            )
            for seed in range(seeds)
        ]
        for entry in entries
    }


def standings(
    jobs: Mapping[Contender, Sequence[TrainingJob]], store: ResultStore
) -> tuple[list[Standing], dict[str, str]]:
    """The best first, and the reasons of contenders of which a training failed."""
    found, failed = [], {}
    for entry, own in jobs.items():
        results = [result for job in own if (result := store.get(job)) is not None]
        if errors := [result.error for result in results if result.metrics is None]:
            failed[entry.neck.label] = errors[0] or "no reason was given"
            continue
        metrics = [result.metrics or {} for result in results]
        aps = tuple(float(values["AP"]) for values in metrics)
        found.append(
            Standing(
                contender=entry,
                aps=aps,
                mean=statistics.mean(aps),
                margin=margin(aps),
                params=int(metrics[0]["params"]),
                latency_ms=statistics.median(values["latency_ms"] for values in metrics),
            )
        )
    return sorted(found, key=lambda entry: -entry.mean), failed


def margin(values: Sequence[float]) -> float:
    """Half the 95 % interval of the mean of normally distributed values; infinite for one value."""
    freedom = len(values) - 1
    if freedom < 1:
        return math.inf
    quantile = T_QUANTILES[min(freedom, len(T_QUANTILES)) - 1]
    return quantile * statistics.stdev(values) / math.sqrt(len(values))


def off_goal(standing: Standing, others: Sequence[Standing]) -> bool:
    """True if its multiply-adds differ from the median of all by more than the tolerance."""
    goal = statistics.median(entry.contender.macs for entry in others)
    return abs(standing.contender.macs - goal) > MACS_TOLERANCE * goal
