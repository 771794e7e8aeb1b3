"""The best necks of a search, trained in full with several seeds and scored on images that no search has seen."""

from __future__ import annotations

import math
import statistics
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from nas.comparison.necks import KNOWN_GROUP, RANDOM_GROUP, NamedNeck
from nas.comparison.result_store import ResultStore
from nas.comparison.training_job import TrainingJob
from nas.detection.config import NORM_GROUPS
from nas.errors import UserError
from nas.proxy.config import ProxyConfig
from nas.search.config import SearchConfig, data_of
from nas.search.constraints import static_cost
from nas.search.records import KNOWN_PREFIX, RANDOM, SEARCH, Trial
from search_space import known

FOUND_GROUP = "found"
MACS_TOLERANCE = 0.1
"""Share by which the multiply-adds of contenders may differ from the goal; else their comparison is marked."""

T_QUANTILES = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145)
"""97.5 % quantiles of Student's t with 1, 2, ... degrees of freedom; beyond, the last one, a little too wide."""


@dataclass(frozen=True)
class Contender:
    """A neck at a width.

    Args:
        channels: of the neck, so that `macs`, the multiply-adds of neck and head for one image, are near the goal.
    """

    neck: NamedNeck
    channels: int
    macs: int


@dataclass(frozen=True)
class Standing:
    """A contender's AP on the test split, one per seed, and the 95 % interval of its mean."""

    contender: Contender
    aps: tuple[float, ...]
    mean: float
    margin: float
    params: int
    latency_ms: float


def contenders(trials: Sequence[Trial], top: int) -> list[NamedNeck]:
    """The best `top` necks found, all known ones of the search, and its best `top` random ones; none twice, so that a
    known one that was found as well stands as known.

    Raises:
        UserError: if nothing found was scored.
    """
    finished = [trial for trial in trials if trial.state == "complete" and trial.reward is not None]
    ranked = sorted(finished, key=lambda trial: -(trial.reward or 0.0))
    chosen: OrderedDict[str, NamedNeck] = OrderedDict()
    for origin, group in ((KNOWN_PREFIX, KNOWN_GROUP), (SEARCH, FOUND_GROUP), (RANDOM, RANDOM_GROUP)):
        count = 0
        for trial in ranked:
            genotype = trial.candidate.genotype
            wanted = trial.candidate.origin.startswith(origin) and (group == KNOWN_GROUP or count < top)
            if not wanted or genotype.fingerprint in chosen:
                continue
            count += 1
            name = trial.candidate.origin.removeprefix(KNOWN_PREFIX)
            label = name if group == KNOWN_GROUP else f"{group} {count} (trial {trial.number})"
            chosen[genotype.fingerprint] = NamedNeck(label, group, genotype)
    if not any(neck.group == FOUND_GROUP for neck in chosen.values()):
        raise UserError("the search has no finished candidate of its own yet, so there is nothing to train in full")
    return list(chosen.values())


def counts(trials: Sequence[Trial]) -> dict[str, int]:
    """From how many candidates the best found and the best random ones were chosen."""
    finished = [trial.candidate.origin for trial in trials if trial.state in ("complete", "stopped")]
    return {FOUND_GROUP: finished.count(SEARCH), RANDOM_GROUP: finished.count(RANDOM)}


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
    """
    step = NORM_GROUPS if config.proxy.head.norm else 2
    costs = _Costs(config)
    width = config.proxy.neck.channels
    if same_width:
        return [Contender(neck, width, costs(neck, width)) for neck in necks]
    goal = statistics.median(costs(neck, width) for neck in (necks if goal_of is None else goal_of))
    return [_at_goal(neck, costs, goal, width, step) for neck in necks]


def _at_goal(neck: NamedNeck, costs: _Costs, goal: float, width: int, step: int) -> Contender:
    """Multiply-adds rise with the width, but where it meets that of a backbone map they fall once, as the 1x1
    convolution there is left out: so two steps beyond the goal are looked at as well.
    """
    direction = step if costs(neck, width) < goal else -step
    widths = [width]
    beyond = 0
    while beyond < 2 and widths[-1] + direction > 0:
        widths.append(widths[-1] + direction)
        beyond += (costs(neck, widths[-1]) - goal) * direction >= 0
    channels = min(widths, key=lambda channels: abs(costs(neck, channels) - goal))
    return Contender(neck, channels, costs(neck, channels))


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
        self._neck = static_cost(config.proxy)
        self._head = cache(self._of_head)

    def __call__(self, neck: NamedNeck, channels: int) -> int:
        return self._neck(neck.genotype, channels)["macs"] + self._head(channels)

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
                entry.neck.genotype,
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
