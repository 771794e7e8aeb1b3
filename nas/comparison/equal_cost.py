"""Widths at which different necks have the same multiply-adds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache

from nas.comparison.necks import NamedNeck
from nas.detection.config import NORM_GROUPS
from nas.errors import UserError
from nas.search.config import SearchConfig, data_of
from nas.search.constraints import static_cost
from search_space import MAX_CHANNELS, Genotype, known


@dataclass(frozen=True)
class Contender:
    """A neck at a width.

    Args:
        channels: of the neck, so that `macs`, the multiply-adds of neck and head for one image, are near the goal.
    """

    neck: NamedNeck
    channels: int
    macs: int


def sized(
    config: SearchConfig,
    necks: Sequence[NamedNeck],
    *,
    same_width: bool = False,
    goal_of: Sequence[NamedNeck] | None = None,
) -> list[Contender]:
    """Every neck at the width whose multiply-adds are nearest to the median of all at the search's width.

    Args:
        same_width: leave all at the search's width.
        goal_of: the necks whose median it is; None: all.

    Raises:
        UserError: if a neck cannot be built at any width near the search's.
    """
    costs, width = _Costs(config), config.proxy.neck.channels
    step = NORM_GROUPS if config.proxy.head.norm else 2
    starts = {
        neck: _first_possible(neck, costs, range(width, width + 1 if same_width else 2 * width, step)) for neck in necks
    }
    if same_width:
        return list(starts.values())
    goal = statistics.median(starts[neck].macs for neck in goal_of or necks)
    return [at_goal(start, costs, goal, step) for start in starts.values()]


def _first_possible(neck: NamedNeck, costs: Callable[[NamedNeck, int], int], widths: Sequence[int]) -> Contender:
    """The neck at the first of these widths that it can have: MLFPN's is a multiple of the number of its TUMs."""
    errors = []
    for channels in widths:
        try:
            return Contender(neck, channels, costs(neck, channels))
        except ValueError as error:
            errors.append(error)
    raise UserError(f"{neck.label} cannot be compared in this search: {errors[0]}")


def at_goal(start: Contender, costs: Callable[[NamedNeck, int], int], goal: float, step: int) -> Contender:
    """The neck at the width nearest to the goal, found in steps from `start`.

    Multiply-adds rise with the width. They fall once, where the width is that of a backbone map and the 1x1
    convolution there is left out, so two steps beyond the goal are tried as well.
    """
    direction = step if start.macs < goal else -step
    tried, channels, beyond = [start], start.channels + direction, 0
    while beyond < 2 and 0 < channels <= MAX_CHANNELS:
        with suppress(ValueError):
            tried.append(Contender(start.neck, channels, costs(start.neck, channels)))
            beyond += (tried[-1].macs - goal) * direction >= 0
        channels += direction
    return min(tried, key=lambda contender: abs(contender.macs - goal))


class _Costs:
    """Multiply-adds of neck and head for one image at the proxy's size."""

    def __init__(self, config: SearchConfig) -> None:
        from nas.data.coco import open_splits
        from nas.detection.backbone import build_backbone
        from nas.detection.cost import feature_shapes

        size = config.proxy.image_size
        self._proxy = config.proxy
        self._num_classes = len(open_splits(data_of(config)).train.classes)
        self._backbone = build_backbone(replace(config.proxy.backbone, weights="none"))
        self._shapes = feature_shapes(self._backbone, (size, size))
        self._candidate = static_cost(config.proxy)
        self._head, self._named = cache(self._of_head), cache(self._of_named)

    def __call__(self, neck: NamedNeck, channels: int) -> int:
        """
        Raises:
            ValueError: for a width that a neck by name cannot have.
        """
        if isinstance(neck.topology, Genotype):
            return self._candidate(neck.topology, channels)["macs"] + self._head(channels)
        return self._named(neck.topology, channels) + self._head(channels)

    def _of_named(self, name: str, channels: int) -> int:
        from nas.detection.cost import neck_cost
        from nas.proxy.candidate import proxy_neck

        width = replace(self._proxy.neck, channels=channels)
        return neck_cost(proxy_neck(name, self._backbone.channels, self._backbone.levels, width), self._shapes).macs

    def _of_head(self, channels: int) -> int:
        """The same for all necks of a width; that of a Faster R-CNN is not counted."""
        if self._proxy.detector != "retinanet":
            return 0
        from nas.detection.conventions import build_anchors
        from nas.detection.cost import head_macs
        from nas.detection.detector import build_head
        from nas.proxy.candidate import candidate_neck

        proxy, backbone = self._proxy, self._backbone
        width = replace(proxy.neck, channels=channels)
        bare = candidate_neck(known.none(width.levels), backbone.channels, backbone.levels, width)
        anchors = build_anchors(bare.out_levels, proxy.head).num_anchors_per_location()[0]
        head = build_head(channels, anchors, self._num_classes, proxy.head)
        return head_macs(head, bare, self._shapes)
