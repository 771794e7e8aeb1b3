"""Boxes of a batch against torchvision's own loop over its images, and targets of a batch against a plain loop."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.models.detection import RetinaNet

from nas.detection.backbone import build_backbone
from nas.detection.config import BackboneConfig, HeadConfig
from nas.detection.conventions import build_anchors
from nas.detection.detector import build_detector, grid_anchors
from nas.detection.postprocess import Found, detections
from nas.detection.targets import BACKGROUND, BOX_CODER, IGNORED, Targets, assign, stack
from necks import build_neck

HEAD = HeadConfig(convs=0, anchor_scale=2.0, octaves=2, ratios=(1.0,))
SIDE = 128
ANCHORS = grid_anchors(
    build_anchors((3, 4, 5, 6, 7), HEAD), [(SIDE // 2**level,) * 2 for level in range(3, 8)], (SIDE,) * 2
)
NUM_ANCHORS = sum(len(level) for level in ANCHORS)
SIZES = [(128, 128), (128, 60), (37, 128), (128, 1), (96, 128), (128, 127)]
KEYS = ("boxes", "scores", "labels")


def limits(score: float = 0.05, nms: float = 0.5, top: int = 1000, kept: int = 100) -> SimpleNamespace:
    """What the detector says of thresholds and numbers."""
    return SimpleNamespace(
        score_thresh=score, nms_thresh=nms, topk_candidates=top, detections_per_img=kept, box_coder=BOX_CODER
    )


def outputs(images: int, classes: int, seed: int, low: float = -8.0, high: float = 3.0) -> tuple[Tensor, Tensor]:
    """Logits without ties, and offsets."""
    generator = torch.Generator().manual_seed(seed)
    count = images * NUM_ANCHORS * classes
    logits = torch.linspace(low, high, count)[torch.randperm(count, generator=generator)]
    offsets = torch.randn(images, NUM_ANCHORS, 4, generator=generator) * 0.4
    return logits.view(images, NUM_ANCHORS, classes), offsets


def theirs(
    detector: Any, logits: Tensor, offsets: Tensor, anchors: list[Tensor], sizes: list[tuple[int, int]]
) -> list[Found]:
    per_level = [len(level) for level in anchors]
    split = {"cls_logits": list(logits.split(per_level, 1)), "bbox_regression": list(offsets.split(per_level, 1))}
    return RetinaNet.postprocess_detections(detector, split, [anchors] * len(sizes), sizes)


def assert_equal(first: list[Found], second: list[Found]) -> None:
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert one.keys() == other.keys() == set(KEYS)
        for key in KEYS:
            assert one[key].dtype == other[key].dtype
            torch.testing.assert_close(one[key], other[key], rtol=0, atol=1e-5 * (SIDE if key == "boxes" else 1))


def compare(detector: Any, logits: Tensor, offsets: Tensor, sizes: list[tuple[int, int]]) -> list[Found]:
    ours = detections(detector, logits, offsets, ANCHORS, sizes)
    assert_equal(ours, theirs(detector, logits, offsets, ANCHORS, sizes))
    return ours


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**20),
    sizes=st.lists(st.sampled_from(SIZES), min_size=1, max_size=5),
    classes=st.integers(1, 7),
    score=st.sampled_from([0.0, 0.05, 0.3, 0.94, 1.0]),
    nms=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    top=st.sampled_from([1, 2, 7, 100, 100_000]),
    kept=st.sampled_from([1, 10, 100, 100_000]),
)
def test_a_batchs_boxes_are_those_of_torchvisions_loop(seed, sizes, classes, score, nms, top, kept):
    logits, offsets = outputs(len(sizes), classes, seed)
    found = compare(limits(score, nms, top, kept), logits, offsets, sizes)
    for (height, width), one in zip(sizes, found, strict=True):
        assert len(one["scores"]) <= kept
        assert (one["scores"] > score).all()
        assert (one["boxes"] >= 0).all()
        assert (one["boxes"] <= torch.tensor([width, height, width, height])).all()


def test_a_real_detectors_thresholds_and_limits_are_used():
    backbone = build_backbone(BackboneConfig(name="resnet10"))
    head = HeadConfig(convs=0, octaves=2, ratios=(1.0,), score_threshold=0.2, nms_threshold=0.4, max_detections=7)
    neck = build_neck("fpn", in_channels=backbone.channels, out_channels=8)
    model = build_detector(backbone, neck, 3, head, SIDE)
    logits, offsets = outputs(3, 3, 0)
    found = compare(model, logits, offsets, SIZES[:3])
    assert [len(one["scores"]) for one in found] == [7, 7, 7]
    fewer = copy.copy(model)
    fewer.topk_candidates = 1
    assert all(len(one["scores"]) <= len(ANCHORS) for one in compare(fewer, logits, offsets, SIZES[:3]))


def test_each_level_gives_no_more_than_its_surest_candidates_and_a_single_cell_all_it_has():
    logits, offsets = outputs(2, 3, 1)
    found = compare(limits(score=0, nms=1, top=4, kept=1000), logits, offsets, SIZES[:2])
    assert [len(one["scores"]) for one in found] == [5 * 4] * 2
    found = compare(limits(score=0, nms=1, top=50, kept=1000), logits, offsets, SIZES[:2])
    assert [len(one["scores"]) for one in found] == [50 * 3 + 2 * 2 * 2 * 3 + 2 * 3] * 2


def test_a_level_with_fewer_sure_candidates_than_allowed_is_not_filled_up_with_unsure_ones():
    logits, offsets = torch.full((2, NUM_ANCHORS, 3), -9.0), torch.zeros(2, NUM_ANCHORS, 4)
    logits[0, 5, 2], logits[0, -1, 0] = 2.0, 1.0
    found = compare(limits(top=10), logits, offsets, SIZES[:2])
    assert [one["labels"].tolist() for one in found] == [[2, 0], []]


def test_thresholds_that_nothing_passes_leave_empty_tensors_for_every_image():
    logits, offsets = outputs(3, 2, 2)
    for one in compare(limits(score=1.0), logits, offsets, SIZES[:3]):
        assert [tuple(one[key].shape) for key in KEYS] == [(0, 4), (0,), (0,)]
        assert one["labels"].dtype == torch.int64


@pytest.mark.parametrize("empty", [(0,), (1,), (2,), (0, 2), (0, 1)])
def test_images_without_boxes_stand_among_others(empty):
    logits, offsets = outputs(3, 4, 3)
    logits[list(empty)] = -20
    found = compare(limits(), logits, offsets, SIZES[:3])
    assert [not len(one["scores"]) for one in found] == [index in empty for index in range(3)]


def test_equal_boxes_of_other_images_or_classes_do_not_suppress_each_other():
    logits, offsets = torch.full((3, NUM_ANCHORS, 2), -9.0), torch.zeros(3, NUM_ANCHORS, 4)
    logits[:, 40] = torch.tensor([[2.0, 1.0], [1.9, 0.9], [1.8, 0.8]])
    found = compare(limits(nms=0.0), logits, offsets, [(SIDE, SIDE)] * 3)
    assert [one["labels"].tolist() for one in found] == [[0, 1]] * 3
    torch.testing.assert_close(torch.stack([one["scores"] for one in found]), logits[:, 40].sigmoid())


def test_an_images_limit_cuts_its_least_sure_boxes_and_no_others():
    logits, offsets = outputs(3, 3, 4)
    logits[1] += 5  # far surer than the others, which must not lose their places to it
    many = compare(limits(kept=10_000), logits, offsets, SIZES[:3])
    few = compare(limits(kept=6), logits, offsets, SIZES[:3])
    assert_equal(few, [{key: one[key][:6] for key in KEYS} for one in many])


def test_an_image_has_the_same_boxes_alone_as_in_any_batch():
    logits, offsets = outputs(4, 3, 5)
    sizes = SIZES[:4]
    together = detections(limits(), logits, offsets, ANCHORS, sizes)
    alone = [
        detections(limits(), logits[i : i + 1], offsets[i : i + 1], ANCHORS, sizes[i : i + 1])[0] for i in range(4)
    ]
    assert_equal(together, alone)
    order = [2, 0, 3, 1]
    other = detections(limits(), logits[order], offsets[order], ANCHORS, [sizes[i] for i in order])
    assert_equal(other, [together[i] for i in order])


@pytest.mark.parametrize("shift", [3.9, 3.95, 4.05, 4.1])
def test_the_last_class_of_the_last_image_of_a_large_batch_is_suppressed_as_exactly_as_the_first(shift):
    """Overlap passes the threshold where a box of 12 pixels is shifted by 4."""
    images, classes, side = 64, 80, 512
    box = torch.tensor([100.3, 100.3, 112.3, 112.3])
    anchors = [torch.stack([box, box + torch.tensor([shift, 0, shift, 0]), torch.tensor([0.0, 0, side, side])])]
    logits, offsets = torch.full((images, 3, classes), -9.0), torch.zeros(images, 3, 4)
    logits[[0, -1], 0, -1], logits[[0, -1], 1, -1], logits[:, 2, 0] = 2.0, 1.0, 0.0
    sizes = [(side, side)] * images
    ours = detections(limits(), logits, offsets, anchors, sizes)
    expected = [79, 0] if shift < 4 else [79, 79, 0]
    assert theirs(limits(), logits, offsets, anchors, sizes)[-1]["labels"].tolist() == expected
    assert [ours[index]["labels"].tolist() for index in (0, -1)] == [expected] * 2


def test_offsets_too_large_to_be_true_give_finite_boxes_within_the_image():
    logits, offsets = outputs(2, 2, 6)
    found = compare(limits(), logits, offsets * 1e4, SIZES[:2])
    assert all(one["boxes"].isfinite().all() for one in found)


def plain_stack(targets: list[Targets], num_anchors: int) -> tuple[Tensor, Tensor]:
    labels = torch.full((len(targets), num_anchors), BACKGROUND)
    offsets = []
    for row, target in zip(labels, targets, strict=True):
        for anchor in target.ignored.tolist():
            row[anchor] = IGNORED
        for anchor, label, offset in zip(target.positive.tolist(), target.labels, target.offsets, strict=True):
            row[anchor] = label
            offsets.append(offset)
    return labels, torch.stack(offsets) if offsets else torch.zeros(0, 4)


@settings(max_examples=60, deadline=None)
@given(counts=st.lists(st.integers(0, 6), min_size=1, max_size=6), seed=st.integers(0, 2**20))
def test_targets_of_a_batch_are_those_of_its_images_one_below_the_other(counts, seed):
    generator = torch.Generator().manual_seed(seed)
    targets = []
    for count in counts:
        corner, side = (
            torch.rand(count, 2, generator=generator) * 90,
            torch.rand(count, 2, generator=generator) * 40 + 2,
        )
        labels = torch.randint(5, (count,), generator=generator)
        targets.append(assign(torch.cat([corner, corner + side], 1), labels, torch.cat(ANCHORS)))
    batch = stack(targets, NUM_ANCHORS)
    labels, offsets = plain_stack(targets, NUM_ANCHORS)
    assert batch.labels.dtype == torch.int64
    assert torch.equal(batch.labels, labels)
    assert torch.equal(batch.offsets, offsets)
    assert (batch.labels >= 0).sum() == len(batch.offsets)
    assert (batch.labels >= 0).any(1).tolist() == [count > 0 for count in counts]


def test_the_first_and_the_last_anchor_of_an_image_stay_its_own():
    none = torch.zeros(0, dtype=torch.int64)
    ends = Targets(torch.tensor([0, 3]), torch.tensor([7, 8]), torch.arange(8.0).view(2, 4), torch.tensor([1]))
    empty = Targets(none, none, torch.zeros(0, 4), none)
    unsure = Targets(none, none, torch.zeros(0, 4), torch.tensor([0, 3]))
    batch = stack([empty, ends, unsure, ends], 4)
    assert batch.labels.tolist() == [
        [BACKGROUND] * 4,
        [7, IGNORED, BACKGROUND, 8],
        [IGNORED, BACKGROUND, BACKGROUND, IGNORED],
        [7, IGNORED, BACKGROUND, 8],
    ]
    assert batch.offsets.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]] * 2
