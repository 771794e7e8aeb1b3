"""Is a proxy task true? Its noise, its spread, and how it ranks necks beside a training ten times longer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nas.comparison.bank import Bank
from nas.comparison.case import Case
from nas.comparison.fleet import PHASE_METRIC
from nas.comparison.necks import KNOWN_GROUP, RANDOM_GROUP, NamedNeck
from nas.comparison.ranking import Agreement, Scores, agreement, seed_std, spread
from nas.errors import UserError
from nas.proxy.config import ProxyConfig
from nas.search.config import SearchConfig

TARGET_TAU = 0.7
"""A proxy that reaches this, or its noise ceiling if that is lower, ranks well enough for a search."""

SEPARATION = 2.0
"""Spread between random necks, in deviations from seed to seed, from which on one training tells them apart."""


@dataclass(frozen=True, kw_only=True)
class CheckPlan:
    """What is trained for a check: every neck with every seed, by the proxy and by the reference."""

    config: SearchConfig
    necks: Sequence[NamedNeck]
    proxy: ProxyConfig
    reference: ProxyConfig
    seeds: int = 3
    reference_seeds: int = 2

    def cases(self) -> list[Case]:
        """Those of the reference first, which take longest."""
        return [*self.reference_cases(), *self.proxy_cases()]

    def proxy_cases(self) -> list[Case]:
        return self._cases(self.proxy, self.seeds, profiled=True)

    def reference_cases(self) -> list[Case]:
        return self._cases(self.reference, self.reference_seeds, profiled=False)

    def _cases(self, proxy: ProxyConfig, seeds: int, *, profiled: bool) -> list[Case]:
        return [
            Case(
                neck.label,
                neck.group,
                neck.genotype,
                proxy,
                self.config.data,
                seed,
                profiled=profiled and seed == 0,
            )
            for seed in range(seeds)
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
        return self.random_spread / self.proxy_std if self.proxy_std else float("inf")

    @property
    def ranks(self) -> bool:
        return self.agreement.tau >= min(TARGET_TAU, self.agreement.ceiling)

    @property
    def separates(self) -> bool:
        return self.separation >= SEPARATION


def check(plan: CheckPlan, bank: Bank) -> CheckResult:
    """What the trainings in the bank say.

    Raises:
        UserError: if too few necks could be trained, with the first reason.
    """
    scores, failed = collect(plan, bank)
    if len(scores) < 3:
        reasons = "; ".join(f"{label}: {reason}" for label, reason in failed.items())
        raise UserError(f"only {len(scores)} of {len(plan.necks)} necks could be trained ({reasons})")
    proxy, reference = table(scores)
    groups = {group: [row for row in scores if row.neck.group == group] for group in (KNOWN_GROUP, RANDOM_GROUP)}
    drawn = groups[RANDOM_GROUP]
    times = [bank.metrics(case)["seconds"] for case in plan.proxy_cases() if bank.metrics(case)]
    long_times = [bank.metrics(case)["seconds"] for case in plan.reference_cases() if bank.metrics(case)]
    return CheckResult(
        scores=scores,
        failed=failed,
        agreement=agreement(proxy, reference),
        among_random=agreement(*table(drawn)) if len(drawn) > 2 else None,
        proxy_std=seed_std(proxy),
        reference_std=seed_std(reference),
        known_spread=_spread(groups[KNOWN_GROUP]),
        random_spread=_spread(drawn),
        seconds=float(np.median(times)),
        reference_seconds=float(np.median(long_times)),
        shares=phase_shares(plan.proxy_cases(), bank),
    )


def collect(plan: CheckPlan, bank: Bank) -> tuple[list[NeckScores], dict[str, str]]:
    """Scores of the necks of which every training succeeded, and the reasons of the others."""
    scores, failed = [], {}
    for neck in plan.necks:
        own = [case for case in plan.cases() if case.genotype == neck.genotype]
        errors = [result.error or "not trained" for case in own if (result := bank.get(case)) and result.ap is None]
        if errors:
            failed[neck.label] = errors[0]
            continue
        proxy = tuple(bank.metrics(case)["AP"] for case in own if case.proxy == plan.proxy)
        reference = tuple(bank.metrics(case)["AP"] for case in own if case.proxy == plan.reference)
        scores.append(NeckScores(neck=neck, proxy=proxy, reference=reference))
    return scores, failed


def table(scores: Sequence[NeckScores]) -> tuple[Scores, Scores]:
    """(M, S) of the proxy and (M, R) of the reference."""
    return np.array([row.proxy for row in scores]), np.array([row.reference for row in scores])


def phase_shares(cases: Sequence[Case], bank: Bank) -> dict[str, float]:
    """Shares of the whole time of these trainings; what no phase covers is `other`."""
    found = [bank.metrics(case) for case in cases if bank.metrics(case)]
    total = sum(metrics["seconds"] for metrics in found)
    names = [name for name in found[0] if name.startswith(PHASE_METRIC)]
    shares = {name.removeprefix(PHASE_METRIC): sum(m.get(name, 0) for m in found) / total for name in names}
    return {**shares, "other": 1 - sum(shares.values())}


def _spread(scores: Sequence[NeckScores]) -> float:
    return spread(table(scores)[0]) if len(scores) > 1 else float("nan")
