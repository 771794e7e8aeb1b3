"""The comparison of detections takes what rounding does, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from tests.support.detections import Limits, assert_same_detections, assert_same_detections_of_images

LIMITS = Limits(score=0.05, nms=0.5, kept=40)


def found(count: int = 40, seed: int = 0) -> dict[str, torch.Tensor]:
    """Boxes far apart, scores 0.01 apart."""
    random = torch.Generator().manual_seed(seed)
    corner = torch.stack([torch.arange(count) % 8 * 50.0, torch.arange(count) // 8 * 50.0], 1)
    sides = 10 + 30 * torch.rand(count, 2, generator=random)
    scores = 0.9 - 0.01 * torch.arange(count)
    labels = torch.randint(3, (count,), generator=random)
    return {"boxes": torch.cat([corner, corner + sides], 1), "scores": scores, "labels": labels}


def rounded(detections: dict[str, torch.Tensor], seed: int = 1) -> dict[str, torch.Tensor]:
    """In another order, with differences within the tolerances."""
    random = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(detections["scores"]), generator=random)
    return {
        "boxes": (detections["boxes"] + 4e-3 * torch.randn(len(order), 4, generator=random).clamp(-2, 2))[order],
        "scores": (detections["scores"] + 4e-5 * torch.randn(len(order), generator=random).clamp(-2, 2))[order],
        "labels": detections["labels"][order],
    }


def without(detections: dict[str, torch.Tensor], *indices: int) -> dict[str, torch.Tensor]:
    kept = [index for index in range(len(detections["scores"])) if index not in indices]
    return {name: value[kept] for name, value in detections.items()}


def with_one(detections: dict[str, torch.Tensor], box: list[float], score: float, label: int):
    one = {"boxes": torch.tensor([box]), "scores": torch.tensor([score]), "labels": torch.tensor([label])}
    return {name: torch.cat([value, one[name]]) for name, value in detections.items()}


@pytest.mark.parametrize("seed", range(5))
def test_another_order_and_rounding_are_the_same(seed):
    expected = found(seed=seed)
    assert_same_detections(rounded(expected), expected, LIMITS)
    assert_same_detections(SimpleNamespace(**rounded(expected)), expected, LIMITS)
    assert_same_detections_of_images([rounded(expected)] * 2, [expected] * 2, LIMITS)


def test_none_and_none_are_the_same_and_the_number_of_images_counts():
    assert_same_detections(found(0), found(0), LIMITS)
    with pytest.raises(ValueError, match="argument"):
        assert_same_detections_of_images([found()], [found(), found()], LIMITS)


@pytest.mark.parametrize(
    ("name", "index", "by"), [("boxes", (7, 2), 0.05), ("scores", 7, 1e-3), ("labels", 7, 1), ("boxes", 39, 60.0)]
)
def test_one_other_box_score_or_class_is_refused(name, index, by):
    expected = found()
    other = {key: value.clone() for key, value in expected.items()}
    other[name][index] += by
    with pytest.raises(AssertionError, match="detections differ:\nfound only: class"):
        assert_same_detections(other, expected, replace(LIMITS, kept=100))


def test_two_scores_that_change_places_are_refused():
    expected = found()
    other = {key: value.clone() for key, value in expected.items()}
    other["scores"][[3, 4]] = expected["scores"][[4, 3]]
    with pytest.raises(AssertionError, match="4 of 40 and 40 detections differ"):
        assert_same_detections(other, expected, LIMITS)


def test_one_missing_or_found_twice_is_refused():
    expected, unlimited = found(), replace(LIMITS, kept=100)
    for fewer in (without(expected, 3), without(expected, 39)):
        with pytest.raises(AssertionError, match="missing: class"):
            assert_same_detections(rounded(fewer), expected, unlimited)
        with pytest.raises(AssertionError, match="found only: class"):
            assert_same_detections(expected, rounded(fewer), unlimited)
    twice = with_one(expected, expected["boxes"][5].tolist(), float(expected["scores"][5]), int(expected["labels"][5]))
    with pytest.raises(AssertionError, match="1 of 41 and 40 detections differ"):
        assert_same_detections(twice, expected, unlimited)


def test_one_at_the_score_threshold_may_be_missing():
    expected = with_one(found(), [500.0, 500, 520, 520], LIMITS.score + 5e-5, 0)
    assert_same_detections(found(), expected, replace(LIMITS, kept=100))
    assert_same_detections(expected, found(), replace(LIMITS, kept=100))


def test_the_last_place_of_a_full_image_may_be_anothers():
    first = with_one(found(39), [500.0, 500, 520, 520], 0.30002, 0)
    other = with_one(found(39), [700.0, 700, 720, 720], 0.30003, 2)
    assert_same_detections(first, other, LIMITS)
    with pytest.raises(AssertionError, match="2 of 40 and 40"):
        assert_same_detections(first, other, replace(LIMITS, kept=41))
    with pytest.raises(AssertionError, match="found only"):
        assert_same_detections(first, with_one(found(39), [700.0, 700, 720, 720], 0.25, 2), LIMITS)


def test_of_two_overlapping_boxes_as_sure_either_may_be_chosen():
    first, other = ([500.0, 500, 520, 520], 0.30002), ([503.0, 500, 523, 520], 0.30004)
    assert_same_detections(with_one(found(), *first, 0), with_one(found(), *other, 0), replace(LIMITS, kept=100))
    for box, score, label in ((other[0], 0.31, 0), (other[0], other[1], 1), ([515.0, 500, 535, 520], other[1], 0)):
        with pytest.raises(AssertionError, match="2 of 41 and 41"):
            assert_same_detections(
                with_one(found(), *first, 0), with_one(found(), box, score, label), replace(LIMITS, kept=100)
            )


def test_a_box_whose_overlap_is_the_threshold_may_be_missing():
    both = with_one(found(), [500.0, 500, 520, 520], 0.8, 0)
    for width, same in ((20.0, True), (19.0, False)):  # half of the other one, and less
        more = with_one(both, [500.0, 500, 500 + width, 540], 0.7, 0)
        half = replace(LIMITS, kept=100)
        if same:
            assert_same_detections(both, more, half)
        else:
            with pytest.raises(AssertionError, match="missing"):
                assert_same_detections(both, more, half)


def test_many_at_the_threshold_are_no_chance():
    expected = found()
    expected["scores"] = torch.full((40,), LIMITS.score)
    with pytest.raises(AssertionError, match="0 of 35 and 5 of 40 detections have no partner; 4 may have none"):
        assert_same_detections(without(expected, 1, 2, 3, 4, 5), expected, replace(LIMITS, kept=100))
