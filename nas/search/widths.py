"""Widths of necks: those at which their multiply-adds meet the search's limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import takewhile
from typing import TYPE_CHECKING

from nas.detection.config import NORM_GROUPS
from nas.proxy.config import ProxyConfig
from search_space import MAX_CHANNELS, Genotype

if TYPE_CHECKING:
    from nas.search.config import SearchConfig

Cost = Callable[..., Mapping[str, float]]
"""As of `static_cost`."""

FAR = 2
"""Multiples of the limit at which no wider neck can keep it: multiply-adds rise with the width, but fall once where it
meets that of a backbone map, whose 1x1 convolution is left out."""


def width_step(proxy: ProxyConfig) -> int:
    """Smallest difference between two widths: even ones, or multiples of the norm's groups in a head with norm."""
    return NORM_GROUPS if proxy.head.norm else 2


def widest(macs: Callable[[int], float], limit: float, step: int) -> int:
    """The width whose multiply-adds come closest to a limit without passing it; the narrowest where all pass it.

    Args:
        macs: multiply-adds at a width.
        step: widths are its multiples.
    """
    costs = takewhile(lambda entry: entry[1] <= FAR * limit, _costs(macs, step))
    return max(((cost, width) for width, cost in costs if cost <= limit), default=(0, step))[1]


def known_channels(config: SearchConfig, genotype: Genotype, cost: Cost) -> int | None:
    """Channels of a known neck; None for those of the configuration."""
    return _channels(config, config.known_width, genotype, cost)


def candidate_channels(config: SearchConfig, genotype: Genotype, cost: Cost) -> int | None:
    """Channels of what a controller proposes; None for those of the configuration."""
    return _channels(config, config.candidate_width, genotype, cost)


def _channels(config: SearchConfig, width: str, genotype: Genotype, cost: Cost) -> int | None:
    limit = config.constraints.max_macs
    if limit is None or width == "same":
        return None
    return widest(lambda width: cost(genotype, width)["macs"], limit, width_step(config.proxy))


def _costs(macs: Callable[[int], float], step: int) -> Iterator[tuple[int, float]]:
    for width in range(step, MAX_CHANNELS + 1, step):
        yield width, macs(width)
