"""Is a proxy task true? Its noise, its spread, and how it ranks necks beside a training ten times longer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nas.comparison.necks import KNOWN_GROUP, RANDOM_GROUP, NamedNeck
from nas.comparison.ranking import Agreement, Scores, agreement, seed_std, spread
from nas.comparison.result_store import ResultStore
from nas.comparison.run_all import PHASE_METRIC
from nas.comparison.training_job import Result, TrainingJob
from nas.errors import UserError
from nas.proxy.config import ProxyConfig
from nas.search.config import SearchConfig, data_of

TARGET_TAU = 0.7
"""A proxy that reaches this, or its noise ceiling if that is lower, ranks well enough for a search."""

MIN_CEILING = 0.5
"""Noise ceiling below which the long training itself does not rank the necks."""

SEPARATION = 2.0
"""Spread between random necks, in deviations from seed to seed, from which on one training tells them apart."""


@dataclass(frozen=True, kw_only=True)
class CheckPlan:
    """Trainings of a check: every neck with every seed, by the proxy and by the reference.

    Args:
        content: see `TrainingJob`.
    """

    config: SearchConfig
    necks: Sequence[NamedNeck]
    proxy: ProxyConfig
    reference: ProxyConfig
    seeds: int = 3
    reference_seeds: int = 2
    content: str = ""

    def jobs(self) -> list[TrainingJob]:
        """Those of the reference first, which take longest."""
        return [*self.reference_jobs(), *self.proxy_jobs()]

    def proxy_jobs(self) -> list[TrainingJob]:
        """Other seeds than the reference has, with which they would share initial weights and first batches."""
        seeds = range(self.reference_seeds, self.reference_seeds + self.seeds)
        return self._jobs(self.proxy, seeds, profiled=seeds[0])

    def reference_jobs(self) -> list[TrainingJob]:
        return self._jobs(self.reference, range(self.reference_seeds))

    def _jobs(self, proxy: ProxyConfig, seeds: range, profiled: int | None = None) -> list[TrainingJob]:
        return [
            TrainingJob(
                neck.label,
                neck.group,
                neck.topology,
                proxy,
                data_of(self.config),
                seed,
                self.content,
                profiled=seed == profiled,
            )
            for seed in seeds
            for neck in self.necks
        ]


def longer(proxy: ProxyConfig, times: float) -> ProxyConfig:
    """The reference: so many times the steps, and no warm start, which is one of the shortcuts in question."""
    return replace(proxy, steps=round(times * proxy.steps), warm_steps=0)


@dataclass(frozen=True, kw_only=True)
class NeckScores:
    """A neck's AP, one per seed."""

    neck: NamedNeck
    proxy: tuple[float, ...]
    reference: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """
    Args:
        failed: necks left out because a training of theirs failed, with the reason.
        seconds: median of one proxy training.
        shares: of its time, by phase.
        separation: spread between random necks over the noise from seed to seed, under the proxy.
    """

    scores: Sequence[NeckScores]
    failed: dict[str, str]
    agreement: Agreement
    among_random: Agreement | None
    proxy_std: float
    reference_std: float
    known_spread: float
    random_spread: float
    seconds: float
    reference_seconds: float
    shares: dict[str, float]

    @property
    def separation(self) -> float:
        """Of the random necks, or of the known ones where there are no others."""
        between = self.known_spread if np.isnan(self.random_spread) else self.random_spread
        if not self.proxy_std:
            return float("inf") if between else 0.0
        return between / self.proxy_std

    @property
    def goal(self) -> float:
        """Tau that is asked for."""
        return min(TARGET_TAU, self.agreement.ceiling)

    @property
    def reference_ranks(self) -> bool:
        """True if the long training agrees with itself; if not, nothing can be judged by it."""
        return self.agreement.ceiling >= MIN_CEILING

    @property
    def ranks(self) -> bool:
        return self.reference_ranks and self.agreement.tau >= self.goal

    @property
    def separates(self) -> bool:
        return self.separation >= SEPARATION


def check(plan: CheckPlan, store: ResultStore) -> CheckResult:
    """Judge the proxy by the trainings in the store.

    Raises:
        UserError: if too few necks could be trained, with the first reason.
    """
    scores, failed = collect(plan, store)
    if len(scores) < 3:
        reasons = "; ".join(f"{label}: {reason}" for label, reason in failed.items())
        raise UserError(f"only {len(scores)} of {len(plan.necks)} necks could be trained ({reasons})")
    proxy, reference = table(scores)
    groups = {group: [row for row in scores if row.neck.group == group] for group in (KNOWN_GROUP, RANDOM_GROUP)}
    drawn = groups[RANDOM_GROUP]
    return CheckResult(
        scores=scores,
        failed=failed,
        agreement=agreement(proxy, reference),
        among_random=agreement(*table(drawn)) if len(drawn) > 2 else None,
        proxy_std=seed_std(proxy),
        reference_std=seed_std(reference),
        known_spread=_spread(groups[KNOWN_GROUP]),
        random_spread=_spread(drawn),
        seconds=usual_seconds(plan.proxy_jobs(), store),
        reference_seconds=usual_seconds(plan.reference_jobs(), store),
        shares=phase_shares(plan.proxy_jobs(), store),
    )


def collect(plan: CheckPlan, store: ResultStore) -> tuple[list[NeckScores], dict[str, str]]:
    """Scores of the necks of which every training succeeded, and the reasons of the others."""
    scores, failed = [], {}
    for neck in plan.necks:
        proxy, reference = (
            [store.get(job) or Result(None, "not trained") for job in jobs if job.topology == neck.topology]
            for jobs in (plan.proxy_jobs(), plan.reference_jobs())
        )
        if errors := [result.error or "no reason" for result in (*proxy, *reference) if result.ap is None]:
            failed[neck.label] = errors[0]
            continue
        scores.append(NeckScores(neck=neck, proxy=_aps(proxy), reference=_aps(reference)))
    return scores, failed


def _aps(results: Sequence[Result]) -> tuple[float, ...]:
    return tuple(result.ap for result in results if result.ap is not None)


def table(scores: Sequence[NeckScores]) -> tuple[Scores, Scores]:
    """(M, S) of the proxy and (M, R) of the reference."""
    return np.array([row.proxy for row in scores]), np.array([row.reference for row in scores])


def phase_shares(jobs: Sequence[TrainingJob], store: ResultStore) -> dict[str, float]:
    """Shares of the whole time of those trainings that were profiled; what no phase covers is `other`."""
    found = [metrics for job in jobs if _profiled(metrics := store.metrics(job))]
    total = sum(metrics["seconds"] for metrics in found)
    names = sorted({name for metrics in found for name in metrics if name.startswith(PHASE_METRIC)})
    shares = {name.removeprefix(PHASE_METRIC): sum(m.get(name, 0) for m in found) / total for name in names}
    return {**shares, "other": 1 - sum(shares.values())} if found else {}


def usual_seconds(jobs: Sequence[TrainingJob], store: ResultStore) -> float:
    """Median time of these trainings, without those that were profiled if there are others: on a GPU that is slower."""
    found = [metrics for job in jobs if (metrics := store.metrics(job))]
    plain = [metrics for metrics in found if not _profiled(metrics)]
    return float(np.median([metrics["seconds"] for metrics in plain or found]))


def _profiled(metrics: Mapping[str, Any]) -> bool:
    return any(name.startswith(PHASE_METRIC) for name in metrics)


def _spread(scores: Sequence[NeckScores]) -> float:
    return spread(table(scores)[0]) if len(scores) > 1 else float("nan")
