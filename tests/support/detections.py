"""Detections compared as sets: what two processors, batches or layouts find in one image may differ by rounding.

Shapes: n, m detections of the one side and of the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchvision.ops import box_iou

IOU_ROUNDING = 1e-3
"""Overlaps of boxes that differ by rounding differ by less."""

SAME_BOX_IOU = 0.9
"""Two boxes that overlap by more are one box that has moved, not two of which one is chosen."""

MISSING_SHARE = 0.1
"""Of the detections; more than these do not hang on one threshold by chance."""


@dataclass(frozen=True)
class Limits:
    """What decides that a detection is left out.

    Args:
        score: threshold of scores.
        nms: threshold of overlaps.
        kept: most detections of an image.
    """

    score: float = 0.0
    nms: float = 1.0
    kept: int = 10**9

    @classmethod
    def of(cls, detector: Any) -> Limits:
        """A RetinaNet's."""
        return cls(detector.score_thresh, detector.nms_thresh, detector.detections_per_img)


@dataclass(frozen=True)
class _Side:
    boxes: Tensor
    scores: Tensor
    labels: Tensor

    @classmethod
    def of(cls, found: Any) -> _Side:
        get = found.__getitem__ if isinstance(found, Mapping) else found.__getattribute__
        return cls(get("boxes").double(), get("scores").double(), get("labels"))

    def __len__(self) -> int:
        return len(self.scores)

    def text(self, index: int) -> str:
        box = ", ".join(f"{side:.4f}" for side in self.boxes[index].tolist())
        return f"class {int(self.labels[index])}, score {float(self.scores[index]):.6f}, box ({box})"


def assert_same_detections(
    found: Any, expected: Any, limits: Limits = Limits(), *, box_px: float = 1e-2, score: float = 1e-4
) -> None:
    """Two sets of detections of one image are the same up to rounding.

    Each detection has a partner of its class, one to one, in whatever order. A few may have none: those within
    rounding of the score threshold, of the last place of a full image, or of the choice between overlapping boxes.

    Args:
        found, expected: `boxes` (n, 4), `scores` (n,) and `labels` (n,), as keys or attributes.
        limits: of the detector that found both.
        box_px, score: what partners may differ by.
    """
    ours, theirs = _Side.of(found), _Side.of(expected)
    lonely, missed = _without_partner(ours, theirs, box_px, score)
    wrong = [f"found only: {ours.text(i)}" for i in lonely if not _by_chance(ours, i, theirs, missed, limits, score)]
    wrong += [f"missing: {theirs.text(i)}" for i in missed if not _by_chance(theirs, i, ours, lonely, limits, score)]
    assert not wrong, "\n".join([f"{len(wrong)} of {len(ours)} and {len(theirs)} detections differ:", *wrong[:10]])
    most = max(1, int(MISSING_SHARE * max(len(ours), len(theirs))))
    assert max(len(lonely), len(missed)) <= most, (
        f"{len(lonely)} of {len(ours)} and {len(missed)} of {len(theirs)} detections have no partner; {most} may"
        " have none"
    )


def assert_same_detections_of_images(found: Sequence[Any], expected: Sequence[Any], *args: Any, **options: Any) -> None:
    """`assert_same_detections` image by image."""
    for one, other in zip(found, expected, strict=True):
        assert_same_detections(one, other, *args, **options)


def _without_partner(ours: _Side, theirs: _Side, box_px: float, score: float) -> tuple[list[int], list[int]]:
    """Indices on both sides; as few as can be."""
    differences = (ours.boxes[:, None] - theirs.boxes[None]).abs().amax(-1)
    fits = (differences <= box_px) & ((ours.scores[:, None] - theirs.scores[None]).abs() <= score)
    fits &= ours.labels[:, None] == theirs.labels[None]
    rows, columns = linear_sum_assignment((~fits).numpy().astype(np.float64))
    paired = fits[rows, columns].numpy()
    lonely = set(range(len(ours))) - set(rows[paired].tolist())
    missed = set(range(len(theirs))) - set(columns[paired].tolist())
    return sorted(lonely), sorted(missed)


def _by_chance(side: _Side, index: int, other: _Side, other_alone: list[int], limits: Limits, score: float) -> bool:
    """Whether rounding may have left a detection out on the other side.

    Args:
        other_alone: those of the other side without a partner.
    """
    own = float(side.scores[index])
    if own <= limits.score + score:
        return True
    if len(other) >= limits.kept and own <= float(other.scores.min()) + score:
        return True
    overlaps = box_iou(side.boxes[index, None], other.boxes)[0]
    at_least_as_sure = (other.labels == side.labels[index]) & (other.scores >= own - score)
    on_the_edge = (overlaps - limits.nms).abs() <= IOU_ROUNDING
    alone = torch.zeros(len(other), dtype=torch.bool)
    alone[other_alone] = True
    chosen_instead = alone & (overlaps > limits.nms) & (overlaps < SAME_BOX_IOU) & (other.scores <= own + score)
    return bool((at_least_as_sure & (on_the_edge | chosen_instead)).any())
