"""faster_coco_eval against pycocotools, to the last bits: where that has 1 - 2^-53 as a precision, this has 1."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas.data.coco import CocoSplit
from nas.data.evaluate import Detections, coco_ap
from nas.errors import UserError

SIDES = [3.0, 20.0, 32.0, 60.0, 96.0, 250.0]


def both(split: CocoSplit, found: dict[int, Detections]) -> dict[str, float]:
    """Scores of the one, which are those of the other."""
    slow = coco_ap(split, found)
    fast = coco_ap(split, found, scorer="faster_coco_eval")
    assert list(fast) == list(slow)
    assert fast == pytest.approx(slow, rel=1e-14, abs=1e-12)
    assert all(type(value) is float for value in fast.values())
    return fast


def random_truth(seed: int, crowds: bool, count: int) -> dict[str, Any]:
    """Four images of 400 x 300, the last without boxes, and four categories, the last without boxes."""
    rng = torch.Generator().manual_seed(seed)
    annotations: list[dict[str, Any]] = []
    for number in range(count):
        width, height = (SIDES[int(torch.randint(len(SIDES), (), generator=rng))] for _ in range(2))
        x, y = (torch.rand(2, generator=rng) * torch.tensor([400 - width, 300 - height])).tolist()
        annotations.append(
            {
                "id": number,
                "image_id": (30, 10, 20)[int(torch.randint(3, (), generator=rng))],
                "category_id": (90, 7, 1)[int(torch.randint(3, (), generator=rng))],
                "bbox": [x, y, width, height],
                "area": width * height * (0.8 + float(torch.rand((), generator=rng)) / 5),
                "iscrowd": int(crowds and number > 0 and float(torch.rand((), generator=rng)) < 0.3),
            }
        )
    return {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 400, "height": 300} for i in (30, 10, 20, 40)],
        "categories": [{"id": i, "name": str(i)} for i in (90, 7, 1, 13)],
        "annotations": annotations,
    }


def random_detections(split: CocoSplit, seed: int, per_image: int, near: bool, ties: bool) -> dict[int, Detections]:
    """Boxes at random or beside those of the image, with scores in tenths or without ties, of three images in four."""
    rng = torch.Generator().manual_seed(seed)
    found = {}
    for image in split.image_ids:
        if float(torch.rand((), generator=rng)) < 0.25:
            continue
        corner, side = torch.rand(per_image, 2, generator=rng) * 250, torch.rand(per_image, 2, generator=rng) * 120
        boxes = torch.cat([corner, corner + side], 1)
        labels = torch.randint(len(split.classes), (per_image,), generator=rng)
        truth = split.coco.imgToAnns.get(image, [])
        for number in range(per_image if near and truth else 0):
            item = truth[number % len(truth)]
            x, y, width, height = item["bbox"]
            exact = torch.tensor([x, y, x + width, y + height])
            boxes[number] = exact + torch.randn(4, generator=rng) * (number % 3) * min(width, height) / 12
            boxes[number, 2:] = torch.maximum(boxes[number, 2:], boxes[number, :2])
            if number % 5:
                labels[number] = split.category_ids.index(item["category_id"])
        scores = torch.rand(per_image, generator=rng)
        found[image] = Detections(boxes, (scores * 10).round() / 10 if ties else scores, labels)
    return found


@pytest.fixture
def make_split(coco_files: Any):
    def make(content: dict[str, Any]) -> CocoSplit:
        config = coco_files.write("random", lambda old: old.update(content))
        return CocoSplit(coco_files.root / config.annotations, coco_files.root / config.images)

    return make


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**20),
    crowds=st.booleans(),
    count=st.integers(1, 40),
    per_image=st.sampled_from([0, 1, 5, 30, 130]),
    near=st.booleans(),
    ties=st.booleans(),
)
def test_scorers_agree_on_whatever_is_found(make_split, seed, crowds, count, per_image, near, ties):
    split = make_split(random_truth(seed, crowds, count))
    both(split, random_detections(split, seed + 1, per_image, near, ties))


def test_scorers_agree_where_something_is_found(make_split):
    split = make_split(random_truth(0, True, 40))
    scores = both(split, random_detections(split, 3, 60, near=True, ties=True))
    assert 1 < scores["AP"] < 99
    assert set(scores) == {"AP", "AP50", "AP75", "APs", "APm", "APl", "AP/90", "AP/7", "AP/1"}


def test_scorers_agree_on_nothing_found_and_on_one_empty_image(make_split):
    split = make_split(random_truth(1, False, 10))
    none = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    for found in ({}, {10: none}, dict.fromkeys(split.image_ids, none)):
        assert set(both(split, found).values()) == {0.0}


def test_scorers_agree_on_what_is_beyond_the_hundred_surest_of_an_image(make_split):
    """The only right box is the 100th, or the 101st and so not seen, of its class."""
    truth = random_truth(2, False, 1)
    split = make_split(truth)
    (item,) = truth["annotations"]
    x, y, width, height = item["bbox"]
    right, wrong = torch.tensor([x, y, x + width, y + height]), torch.tensor([0.0, 290, 1, 291])
    label = split.category_ids.index(item["category_id"])

    def score_at(place: int) -> float:
        boxes = wrong.repeat(150, 1)
        boxes[place] = right
        found = Detections(boxes, torch.linspace(1, 0.1, 150), torch.full((150,), label))
        return both(split, {item["image_id"]: found})["AP"]

    assert score_at(99) == pytest.approx(1.0)
    assert score_at(100) == 0


def test_scorers_agree_on_part_of_a_split(make_split):
    split = make_split(random_truth(3, True, 40))
    found = random_detections(split, 5, 30, near=True, ties=False)
    part = split.subset([10, 40])
    both(part, {image: one for image, one in found.items() if image in part.image_ids})


def test_the_fast_scorer_neither_prints_nor_changes_the_split(make_split, capfd):
    split = make_split(random_truth(4, True, 20))
    before = repr(split.coco.dataset)
    coco_ap(split, random_detections(split, 0, 20, near=True, ties=True), scorer="faster_coco_eval")
    assert repr(split.coco.dataset) == before
    assert capfd.readouterr() == ("", "")


def test_a_scorer_that_is_not_installed_says_how_to_get_it_or_do_without(make_split, monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    split = make_split(random_truth(5, False, 3))
    with pytest.raises(UserError, match=r"'faster_coco_eval' is not installed .*nas-fpn\[fast\].*pycocotools"):
        coco_ap(split, {}, scorer="faster_coco_eval")
    assert coco_ap(split, {})["AP"] == 0
