"""Hard limits on what a candidate's neck may cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass as plain_dataclass
from typing import Any

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from nas.bounds import Float, Int
from nas.detection.config import BackboneConfig
from nas.proxy.config import ProxyConfig
from search_space import Genotype, genotype_cost

MEASURES = {"max_params": "params", "max_macs": "macs", "max_latency_ms": "latency_ms"}
OWN = "max_costs."
"""Prefix that makes the name of a limit from the name of a cost."""
_TEXTS = {"params": "{:,} params", "macs": "{:,} MACs", "latency_ms": "{:.3g} ms"}

Measured = Mapping[str, Any]
"""Metrics that may include `params`, `macs`, `latency_ms` and costs of the user."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ConstraintConfig:
    """Limits on the cost of the neck alone, for one image at the proxy task's settings; None is no limit.

    A candidate over a limit is not trained. It becomes a failed trial that is marked as rejected, and does not count
    towards the number of trials. Known necks are scored whatever they cost. A later start of the search may relax the
    limits, but not tighten them.
    """

    max_params: Int | None = Field(default=None, ge=1)
    max_macs: Int | None = Field(default=None, ge=1)
    max_latency_ms: Float | None = Field(default=None, gt=0)
    """Largest latency for a batch of one image, which the worker measures on its device before the training."""

    max_costs: dict[str, Float] = Field(default_factory=dict)
    """Limits on your own costs (`SearchConfig.costs`) by name, such as `{"npu_ms": 3.5}`."""

    max_rejections_in_a_row: Int = Field(default=100, ge=1)
    """Number of candidates rejected one after another that ends the search."""

    def limits(self) -> dict[str, float]:
        """The limits that are set, by name."""
        values = {name: getattr(self, name) for name in MEASURES}
        limits = {name: value for name, value in values.items() if value is not None}
        return limits | {f"{OWN}{name}": bound for name, bound in self.max_costs.items()}


def measure_of(limit: str) -> str:
    """Name of the metric that a limit bounds."""
    return MEASURES.get(limit, limit.removeprefix(OWN))


@plain_dataclass(frozen=True)
class Violation:
    """A limit that a candidate exceeds."""

    limit: str
    bound: float
    value: float

    def __str__(self) -> str:
        return f"{amount(self.limit, self.value)} > {self.limit} {self.bound:,}"


class RejectedError(Exception):
    """Rejection of a candidate that a worker measured to be over a limit, before its training."""

    def __init__(self, measured: Measured) -> None:
        super().__init__("over a limit")
        self.measured = dict(measured)


def violations(constraints: ConstraintConfig, measured: Measured) -> list[Violation]:
    """All limits that the measured values exceed. A limit without a measured value is not violated."""
    values = {name: measured.get(measure_of(name)) for name in constraints.limits()}
    return [
        Violation(name, constraints.limits()[name], value)
        for name, value in values.items()
        if value is not None and not value <= constraints.limits()[name]
    ]


def amount(limit: str, value: float) -> str:
    """Text of a value that a limit bounds, with its unit."""
    measure = measure_of(limit)
    return _TEXTS[measure].format(value) if measure in _TEXTS else f"{measure} {value:.4g}"


def tightened(old: ConstraintConfig, new: ConstraintConfig) -> list[str]:
    """Limits that are tighter in `new` than in `old`, as `name: old -> new`."""
    before = old.limits()
    return [
        f"constraints.{name}: {before.get(name)} -> {bound}"
        for name, bound in new.limits().items()
        if bound < before.get(name, float("inf"))
    ]


def static_cost(proxy: ProxyConfig) -> Callable[..., dict[str, int]]:
    """Function that counts `params` and `macs` of a candidate's neck in microseconds.

    Only the backbone is built, once and without weights, to get the channels and sizes of its maps.

    Returns:
        A function of (genotype, channels); the channels are the proxy task's by default.
    """
    from nas.detection.backbone import build_backbone
    from nas.detection.cost import feature_shapes

    neck = proxy.neck
    backbone = build_backbone(BackboneConfig(name=proxy.backbone.name, levels=proxy.backbone.levels))
    shapes = feature_shapes(backbone, (proxy.image_size, proxy.image_size)).values()

    def count(genotype: Genotype, channels: int = neck.channels) -> dict[str, int]:
        cost = genotype_cost(
            genotype,
            channels=channels,
            in_channels=backbone.channels,
            in_sizes=[(shape[1], shape[2]) for shape in shapes],
            repeats=neck.repeats,
            separable=neck.separable,
        )
        return {"params": cost.params, "macs": cost.macs}

    return count
