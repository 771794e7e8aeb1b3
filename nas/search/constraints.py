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
"""Before the name of a cost, the name of its limit."""
_TEXTS = {"params": "{:,} params", "macs": "{:,} MACs", "latency_ms": "{:.3g} ms"}

Measured = Mapping[str, Any]
"""`params`, `macs`, `latency_ms` and costs of one's own, or some of them, among other metrics."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ConstraintConfig:
    """Limits on the neck alone for one image at the proxy's settings; None is no limit.

    A candidate over a limit is not trained: it is a failed trial marked as rejected, and does not count as one of the
    search's trials. Known necks are scored whatever they cost. A later start may relax the limits, not tighten them.
    """

    max_params: Int | None = Field(default=None, ge=1)
    max_macs: Int | None = Field(default=None, ge=1)
    max_latency_ms: Float | None = Field(default=None, gt=0)
    """Measured by the worker before the training, on its device, batch 1."""

    max_costs: dict[str, Float] = Field(default_factory=dict)
    """Limits on costs that functions of `SearchConfig.costs` return, by their names, such as `{"npu_ms": 3.5}`."""

    max_rejections_in_a_row: Int = Field(default=100, ge=1)
    """So many rejected candidates, proposed one after another, end the search."""

    def limits(self) -> dict[str, float]:
        """The limits that are set, by name."""
        values = {name: getattr(self, name) for name in MEASURES}
        limits = {name: value for name, value in values.items() if value is not None}
        return limits | {f"{OWN}{name}": bound for name, bound in self.max_costs.items()}


def measure_of(limit: str) -> str:
    """The metric that a limit is on."""
    return MEASURES.get(limit, limit.removeprefix(OWN))


@plain_dataclass(frozen=True)
class Violation:
    """One limit that a candidate is over."""

    limit: str
    bound: float
    value: float

    def __str__(self) -> str:
        return f"{amount(self.limit, self.value)} > {self.limit} {self.bound:,}"


class RejectedError(Exception):
    """Measured by a worker to be over a limit, before any training."""

    def __init__(self, measured: Measured) -> None:
        super().__init__("over a limit")
        self.measured = dict(measured)


def violations(constraints: ConstraintConfig, measured: Measured) -> list[Violation]:
    """Every limit that the measures given are over; what was not measured violates nothing."""
    values = {name: measured.get(measure_of(name)) for name in constraints.limits()}
    return [
        Violation(name, constraints.limits()[name], value)
        for name, value in values.items()
        if value is not None and not value <= constraints.limits()[name]
    ]


def amount(limit: str, value: float) -> str:
    """A value of what a limit is on, with its unit."""
    measure = measure_of(limit)
    return _TEXTS[measure].format(value) if measure in _TEXTS else f"{measure} {value:.4g}"


def tightened(old: ConstraintConfig, new: ConstraintConfig) -> list[str]:
    """Limits of `new` that candidates accepted under `old` may be over, as `name: old -> new`."""
    before = old.limits()
    return [
        f"constraints.{name}: {before.get(name)} -> {bound}"
        for name, bound in new.limits().items()
        if bound < before.get(name, float("inf"))
    ]


def static_cost(proxy: ProxyConfig) -> Callable[..., dict[str, int]]:
    """Counts `params` and `macs` of a candidate's neck under a proxy task, in microseconds.

    Only the backbone is built, once and without weights, for the channels and sizes of its maps.

    Returns:
        (genotype, channels), where the channels are the proxy's by default.
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
