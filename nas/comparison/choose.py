"""The cheapest setting of a proxy task that still ranks necks as a long training does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from nas.comparison.check import TARGET_TAU, CheckPlan, CheckResult, check
from nas.comparison.result_store import ResultStore
from nas.configuration import ConfigError, override
from nas.proxy.config import ProxyConfig

DEFAULT_SHARES = (0.125, 0.25, 0.5, 1.0)
"""Shares of the steps that are tried by default."""


@dataclass(frozen=True)
class Setting:
    """Assignments to fields of the proxy task, such as `steps=200`, and what they make of it."""

    assignments: tuple[str, ...]
    proxy: ProxyConfig

    def __str__(self) -> str:
        return " ".join(self.assignments)


@dataclass(frozen=True)
class Judged:
    """
    Args:
        within: it is enough, and ranks as one more long training would, 19 times out of 20.
        enough: it reaches `TARGET_TAU`, or the noise ceiling if that is lower.
    """

    setting: Setting
    result: CheckResult

    @property
    def within(self) -> bool:
        return self.enough and self.result.agreement.tau >= self.result.agreement.ceiling_low

    @property
    def enough(self) -> bool:
        return self.result.ranks


def grid(proxy: ProxyConfig, variations: Sequence[str]) -> list[Setting]:
    """Every combination of the values, each valid.

    Args:
        variations: `FIELD=VALUE,VALUE,...` with fields of the proxy task such as `neck.channels`; none: shares of the
            steps.

    Raises:
        ConfigError: for unknown fields and values that are not allowed.
    """
    if not variations:
        steps = sorted({max(1, round(share * proxy.steps)) for share in DEFAULT_SHARES})
        variations = [f"steps={','.join(map(str, steps))}"]
    choices = []
    for variation in variations:
        field, equals, values = variation.partition("=")
        if not equals or not values:
            raise ConfigError(f"write --vary FIELD=VALUE,VALUE such as steps=100,200, got {variation!r}")
        choices.append([f"{field.strip()}={value.strip()}" for value in values.split(",")])
    return [Setting(chosen, override(proxy, chosen)) for chosen in product(*choices)]


def judge(plan: CheckPlan, settings: Sequence[Setting], store: ResultStore) -> list[Judged]:
    """Every setting against the same reference, cheapest first.

    Raises:
        UserError: as `check`.
    """
    judged = [Judged(setting, check(replace(plan, proxy=setting.proxy), store)) for setting in settings]
    return sorted(judged, key=lambda entry: entry.result.seconds)


def recommended(judged: Sequence[Judged]) -> tuple[Judged, str]:
    """A setting and why it is recommended."""
    for entry in judged:
        if entry.within:
            return entry, "the cheapest that ranks as one more long training would"
    for entry in judged:
        if entry.enough:
            return entry, (
                f"the cheapest whose tau reaches {TARGET_TAU}, or its noise ceiling; none ranks as a long training does"
            )
    best = max(judged, key=lambda entry: np.nan_to_num(entry.result.agreement.tau, nan=-np.inf))
    if not best.result.reference_ranks:
        return best, "nothing can be said: the long training does not agree with itself about these necks"
    return best, "the best of them, but none ranks well: try more steps, more reward images, or another learning rate"
