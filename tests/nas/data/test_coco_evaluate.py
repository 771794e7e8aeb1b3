"""coco_ap against pycocotools used directly, and at its edges."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from nas.data.coco import CocoSplit, open_splits
from nas.data.config import DataConfig, DataError
from nas.data.evaluate import Detections, coco_ap


@pytest.fixture(scope="module")
def signs_train(signs_root: Path) -> CocoSplit:
    return open_splits(DataConfig(root=str(signs_root))).train


def perfect(split: CocoSplit) -> dict[int, Detections]:
    found = {}
    for _, target in (split[index] for index in range(len(split))):
        n = len(target["labels"])
        found[target["image_id"]] = Detections(target["boxes"], torch.linspace(0.9, 0.5, n), target["labels"])
    return found


def noisy(split: CocoSplit, seed: int) -> dict[int, Detections]:
    """Shifted boxes, wrong labels, false alarms, ties in scores, and images left out."""
    rng = torch.Generator().manual_seed(seed)
    found = {}
    for image, clean in perfect(split).items():
        n = len(clean.labels)
        boxes = clean.boxes.repeat(2, 1) + 4 * torch.randn(2 * n, 4, generator=rng)
        boxes[:, 2:] = torch.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        wrong = torch.randint(len(split.classes), (2 * n,), generator=rng)
        labels = torch.where(torch.rand(2 * n, generator=rng) < 0.3, wrong, clean.labels.repeat(2))
        scores = (torch.rand(2 * n, generator=rng) * 10).round() / 10
        if torch.rand(1, generator=rng) < 0.8:
            found[image] = Detections(boxes, scores, labels)
    return found


def direct(split: CocoSplit, detections: dict[int, Detections]) -> list[float]:
    """pycocotools' twelve numbers, by its own tutorial: files in, summarize() out."""
    results = [
        {
            "image_id": image,
            "category_id": split.category_ids[label],
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": score,
        }
        for image, found in detections.items()
        for (x1, y1, x2, y2), score, label in zip(
            found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True
        )
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(split.annotations))
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.params.imgIds = list(split.image_ids)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats]


def test_perfect_detections_score_100(signs_train: CocoSplit) -> None:
    scores = coco_ap(signs_train, perfect(signs_train))
    assert {"AP", "AP50", "AP75", "APs", "APm", "AP/plate_0", "AP/tile_diamond"} <= set(scores)
    assert all(value == pytest.approx(100) for value in scores.values())


@pytest.mark.parametrize("seed", range(3))
def test_noisy_detections_score_as_with_pycocotools(signs_train: CocoSplit, seed: int) -> None:
    found = noisy(signs_train, seed)
    scores, expected = coco_ap(signs_train, found), direct(signs_train, found)
    assert 0 < scores["AP"] < 100
    for index, name in enumerate(("AP", "AP50", "AP75", "APs", "APm", "APl")):
        if expected[index] == -1:
            assert name not in scores
        else:
            assert scores[name] == pytest.approx(100 * expected[index], abs=1e-9)
    by_class = [scores[f"AP/{name}"] for name in signs_train.classes]
    assert np.mean(by_class) == pytest.approx(scores["AP"])


def test_subset_is_scored_on_its_images_only(signs_train: CocoSplit) -> None:
    part = signs_train.subset(signs_train.image_ids[:4])
    found = {image: item for image, item in noisy(signs_train, 5).items() if image in part.image_ids}
    assert coco_ap(part, found)["AP"] == pytest.approx(100 * direct(part, found)[0], abs=1e-9)


def test_no_detections_score_zero(signs_train: CocoSplit) -> None:
    none = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    for found in ({}, {signs_train.image_ids[0]: none}):
        scores = coco_ap(signs_train, found)
        assert set(scores.values()) == {0.0}
        assert scores["AP"] == 0.0


def test_split_is_not_changed_and_nothing_is_printed(signs_train: CocoSplit, capfd: pytest.CaptureFixture[str]) -> None:
    before = copy.deepcopy(signs_train.coco.dataset)
    coco_ap(signs_train, noisy(signs_train, 0))
    assert signs_train.coco.dataset == before
    assert capfd.readouterr() == ("", "")


def test_scores_are_json(signs_train: CocoSplit) -> None:
    scores = coco_ap(signs_train, noisy(signs_train, 1))
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores


def test_ranges_and_classes_without_truth_are_left_out(coco_files: Any) -> None:
    coco_files.all()
    coco_files.write("train", lambda content: content["annotations"].pop(0))
    train = open_splits(coco_files.config()).train
    scores = coco_ap(train, perfect(train))
    assert scores["AP"] == pytest.approx(100)
    assert "AP/cat" not in scores
    assert "APl" not in scores


def test_annotation_id_zero_counts_and_missing_area_is_filled(coco_files: Any) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["annotations"][0].update(id=0)
        for item in content["annotations"]:
            del item["area"], item["iscrowd"]

    coco_files.all()
    coco_files.write("train", edit)
    train = open_splits(coco_files.config()).train
    assert coco_ap(train, perfect(train))["AP"] == pytest.approx(100)


def test_detections_on_a_crowd_are_neither_right_nor_wrong(coco_files: Any) -> None:
    coco_files.all()
    coco_files.write("train", lambda content: content["annotations"][2].update(iscrowd=1))
    train = open_splits(coco_files.config()).train
    found = perfect(train)
    found[20] = Detections(torch.tensor([[5.0, 5, 25, 25]]), torch.tensor([1.0]), torch.tensor([1]))
    assert coco_ap(train, found)["AP"] == pytest.approx(100)


def test_split_without_boxes_has_no_score(coco_files: Any) -> None:
    train = open_splits(coco_files.all()).train
    with pytest.raises(DataError, match="holds no box for the 1 images"):
        coco_ap(train.subset([30]), {})


def test_foreign_images_and_labels_are_refused(signs_train: CocoSplit) -> None:
    one = Detections(torch.tensor([[0.0, 0, 5, 5]]), torch.tensor([1.0]), torch.tensor([6]))
    with pytest.raises(ValueError, match=r"image ids \[999\] are not in it"):
        coco_ap(signs_train, {999: one})
    with pytest.raises(ValueError, match=r"labels must be in 0\.\.5, but image 1 got 6"):
        coco_ap(signs_train, {1: one})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_detections_must_be_finite_and_fit_together(value: float) -> None:
    with pytest.raises(ValueError, match="diverged"):
        Detections(torch.tensor([[0.0, 0, 5, value]]), torch.tensor([1.0]), torch.tensor([0]))
    with pytest.raises(ValueError, match="must share n"):
        Detections(torch.zeros(2, 4), torch.zeros(2), torch.zeros(1))
