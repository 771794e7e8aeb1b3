"""AP of saved detectors: torchvision's own forward pass and pycocotools give the same; exits; records; errors."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from nas.data.config import DataError
from nas.data.evaluate import Detections
from nas.detection.saved import load_detector
from nas.evaluation.evaluate import (
    EvaluationError,
    Settings,
    check_categories,
    choose_exits,
    evaluate,
    for_detector,
    open_split,
)
from nas.evaluation.pictures import detections_on_images
from tests.support.busy_detector import IDS, SIDE, save_busy_detector, spec_of
from tests.support.detections import Limits, assert_same_detections

MEASURES = ("AP", "AP50", "AP75", "APs", "APm", "APl")
SIZES = {"square": [(SIDE, SIDE)] * 6, "oblong": [(150, 90), (64, 128), (128, 100), (200, 160), (90, 91), (128, 128)]}


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "anytime"])
def directory(request, tmp_path_factory):
    """A detector with many detections."""
    path = tmp_path_factory.mktemp("saved") / "detector"
    save_busy_detector(path, anytime=request.param)
    return path


@pytest.fixture
def is_anytime(directory):
    return load_detector(directory)[1].anytime


@torch.no_grad()
def own_forward(detector, path):
    """With labels by the order of category ids, as a split has them."""
    pixels = np.asarray(Image.open(path).convert("RGB"))
    found = detector([torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255])[0]
    order = torch.tensor([sorted(IDS).index(key) for key in IDS])
    return Detections(found["boxes"], found["scores"], order[found["labels"]])


def in_coco_format(found):
    return [
        {"category_id": sorted(IDS)[label], "bbox": [x, y, x2 - x, y2 - y], "score": score}
        for (x, y, x2, y2), label, score in zip(
            found.boxes.tolist(), found.labels.tolist(), found.scores.tolist(), strict=True
        )
    ]


def write_data(root, sizes, detector):
    """Annotations near what the detector finds, so that its AP is neither 0 nor 100; ids with gaps, a crowd."""
    rng = np.random.default_rng(0)
    content = {"images": [], "annotations": [], "categories": [{"id": k, "name": v} for k, v in IDS.items()]}
    for index, (width, height) in enumerate(sizes):
        name = f"{index}.png"
        Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(root / name)
        content["images"].append({"id": 10 * index + 7, "file_name": name, "width": width, "height": height})
        for place, found in enumerate(in_coco_format(own_forward(detector, root / name))[:12]):
            x, y, w, h = found["bbox"]
            if place % 4 == 3 or min(w, h) < 2:
                continue
            box = [x + 0.05 * w * (place % 3), y, w, h]
            category = found["category_id"] if place % 5 else 20 - found["category_id"]
            content["annotations"].append(
                {
                    "id": 100 * index + 3 * place + 1,
                    "image_id": 10 * index + 7,
                    "category_id": category,
                    "bbox": box,
                    "area": w * h,
                    "iscrowd": int(place == 7),
                }
            )
    (root / "annotations.json").write_text(json.dumps(content))
    return root / "annotations.json"


def pycocotools_scores(annotations, results):
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations))
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(MEASURES, 100 * evaluation.stats[:6], strict=True))


@pytest.mark.parametrize(("shape", "resize"), [("square", "letterbox"), ("oblong", "torchvision")])
def test_ap_is_that_of_torchvisions_forward_pass_and_pycocotools(tmp_path, directory, is_anytime, shape, resize):
    detector, spec = load_detector(directory)
    annotations = write_data(tmp_path, SIZES[shape], detector)
    split = open_split(annotations, tmp_path)
    settings = Settings(size=SIDE, resize=resize, batch_size=4)
    (result,) = evaluate(detector, spec, split, settings, choose_exits(detector, None, False))
    for index in range(len(SIZES[shape])):
        expected = own_forward(detector, tmp_path / f"{index}.png")
        assert_same_detections(result.found[10 * index + 7], expected, Limits.of(detector))
    results = [{"image_id": image, **one} for image, found in result.found.items() for one in in_coco_format(found)]
    scores = pycocotools_scores(annotations, results)
    assert 5 < scores["AP"] < 95
    for name, value in scores.items():
        assert result.metrics.get(name, -100.0) == pytest.approx(value, abs=1e-6), name
    assert result.repeats == (2 if is_anytime else None)


def test_letterboxed_boxes_come_back_to_the_images_as_stored(tmp_path, directory):
    """An image, and the same one stored at the size that it is scaled to: the same boxes at half the place."""
    detector, spec = load_detector(directory)
    small = torch.randint(0, 255, (1, 3, 32, 64), generator=torch.Generator().manual_seed(1)).float()
    large = torch.nn.functional.interpolate(small, (64, SIDE), mode="bilinear", antialias=True).round().clamp(0, 255)
    content = {"images": [], "categories": [{"id": key, "name": name} for key, name in IDS.items()]}
    for image, pixels in ((1, small), (2, large)):
        Image.fromarray(pixels[0].permute(1, 2, 0).to(torch.uint8).numpy()).save(tmp_path / f"{image}.png")
        sides = {"width": pixels.shape[3], "height": pixels.shape[2]}
        content["images"].append({"id": image, "file_name": f"{image}.png", **sides})
    content["annotations"] = [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [0, 0, 9, 9], "area": 81}]
    (tmp_path / "a.json").write_text(json.dumps(content))
    split = open_split(tmp_path / "a.json", tmp_path)
    (result,) = evaluate(detector, spec, split, Settings(size=SIDE), choose_exits(detector, None, False))
    assert len(result.found[1].boxes) > 10
    halved = replace(result.found[2], boxes=result.found[2].boxes / 2)
    assert_same_detections(result.found[1], halved, Limits.of(detector))
    assert result.found[2].boxes[:, 2].max() > 64
    assert result.found[2].boxes[:, 3].max() <= 64


def test_every_exit_is_scored_as_if_alone(tmp_path, directory, is_anytime):
    detector, spec = load_detector(directory)
    if not is_anytime:
        for repeats, every in ((1, False), (None, True)):
            with pytest.raises(EvaluationError, match="has no exits"):
                choose_exits(detector, repeats, every)
        return
    split = open_split(write_data(tmp_path, SIZES["square"][:3], detector), tmp_path)
    together = evaluate(detector, spec, split, Settings(size=SIDE), choose_exits(detector, None, True))
    assert [one.repeats for one in together] == [1, 2]
    assert together[0].cost.macs < together[1].cost.macs
    assert together[0].metrics != together[1].metrics
    for one in together:
        exits = choose_exits(detector, one.repeats, False)
        (alone,) = evaluate(detector, spec, split, Settings(size=SIDE, resize="torchvision"), exits)
        assert alone.found.keys() == one.found.keys()
        for image, found in alone.found.items():
            assert_same_detections(found, one.found[image], Limits.of(detector))
        assert alone.cost == one.cost
    for repeats in (0, 3):
        with pytest.raises(EvaluationError, match=rf"--exit must be in 1\.\.2.*got {repeats}"):
            choose_exits(detector, repeats, False)
    with pytest.raises(EvaluationError, match="not both"):
        choose_exits(detector, 1, True)


def test_the_command_writes_what_others_can_score(tmp_path, directory, is_anytime, in_process):
    detector, _ = load_detector(directory)
    annotations = write_data(tmp_path, SIZES["oblong"], detector)
    more = ["--exits"] if is_anytime else []
    command = ["evaluate", directory, "--annotations", annotations, "--images", tmp_path, "--out", tmp_path / "out"]
    code, shown, errors = in_process(*command, "--pictures", 3, *more)
    assert (code, errors) == (0, "")
    assert "AP of each class" in shown
    record = json.loads((tmp_path / "out" / "results.json").read_text())
    assert record["environment"]["torch"] == torch.__version__.split("+")[0]
    assert record["command"][1] == "evaluate"
    assert [one["exit"] for one in record["results"]] == ([1, 2] if is_anytime else [None])
    names = [f"detections_exit_{r}.json" for r in (1, 2)] if is_anytime else ["detections.json"]
    for name, one in zip(names, record["results"], strict=True):
        found = json.loads((tmp_path / "out" / name).read_text())
        assert found[0].keys() == {"image_id", "category_id", "bbox", "score"}
        assert pycocotools_scores(annotations, found)["AP"] == pytest.approx(one["metrics"]["AP"], abs=1e-6)
        assert {"AP/cat", "AP/dog"} <= one["metrics"].keys()
    assert Image.open(tmp_path / "out" / "detections.png").size[0] > 1000
    assert (tmp_path / "out" / "ap_against_macs.png").exists() == is_anytime


@pytest.fixture
def split(tmp_path):
    def write(edit=lambda content: None):
        Image.new("RGB", (64, 48)).save(tmp_path / "0.png")
        box = {"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 2, 30, 20], "area": 600, "iscrowd": 0}
        content = {
            "images": [{"id": 1, "file_name": "0.png", "width": 64, "height": 48}],
            "annotations": [box],
            "categories": [{"id": k, "name": v} for k, v in IDS.items()],
        }
        edit(content)
        (tmp_path / "a.json").write_text(json.dumps(content))
        return open_split(tmp_path / "a.json", tmp_path)

    return write


def test_the_picture_sets_what_is_annotated_beside_what_was_detected(split, tmp_path):
    def edit(content):
        content["images"][0]["file_name"] = "cups/0.png"
        (tmp_path / "cups").mkdir()
        (tmp_path / "0.png").rename(tmp_path / "cups" / "0.png")

    data = split(edit)
    boxes = torch.tensor([[1.0, 2, 31, 22], [5, 5, 20, 20], [30, 30, 40, 40]])
    found = {1: Detections(boxes, torch.tensor([0.9, 0.5, 0.2]), torch.tensor([0, 1, 1]))}
    figure = detections_on_images(data, found, 4, min_score=0.4)
    left, right = figure.axes
    assert left.get_title() == "cups/0.png\nannotated: 1"
    assert right.get_title() == "detected with score >= 0.4: 2"
    assert [text.get_text() for text in left.texts] == ["cat"]
    assert [text.get_text() for text in right.texts] == ["cat 0.90", "dog 0.50"]
    figure.draw_without_rendering()
    for axes in figure.axes:
        for text in axes.texts:
            assert text.get_window_extent().y1 <= axes.get_window_extent().y1 + 2


def test_every_difference_of_categories_is_listed(split):
    def edit(content):
        content["categories"] = [{"id": 3, "name": "wolf"}, {"id": 40, "name": "cow"}]

    with pytest.raises(EvaluationError) as caught:
        check_categories(spec_of(False), split(edit))
    lines = [line.strip() for line in str(caught.value).splitlines()]
    assert lines[1:4] == [
        "3: 'cat' to the detector, 'wolf' in the data",
        "17: only the detector has it ('dog')",
        "40: only the data has it ('cow')",
    ]
    check_categories(spec_of(False), split())
    check_categories(replace(spec_of(False), classes=("cat", "dog"), category_ids=(3, 17)), split())


@pytest.mark.parametrize("boxes", [0, 1])
def test_categories_that_the_detector_does_not_know_are_left_out(split, boxes):
    def edit(content):
        content["categories"] += [{"id": 0, "name": "animals"}]
        content["annotations"] += [{**content["annotations"][0], "id": 7, "category_id": 0}] * boxes

    own, others = for_detector(split(edit), spec_of(False))
    assert own.category_ids == (3, 17)
    assert own.target(0)["labels"].tolist() == [0]
    assert others == {"animals": boxes}
    check_categories(spec_of(False), own)


def test_a_detector_whose_categories_are_not_there_or_without_boxes_is_refused(split):
    with pytest.raises(EvaluationError, match="only the detector has it"):
        for_detector(split(lambda content: content.update(categories=[{"id": 3, "name": IDS[3]}])), spec_of(False))
    spec = replace(spec_of(False), classes=(IDS[17],), category_ids=(17,))
    with pytest.raises(DataError, match="no box of the detector's categories"):
        for_detector(split(), spec)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c.update(categories=[]), "lists no categories"),
        (lambda c: c.pop("categories"), "has no categories"),
        (lambda c: c.update(images=[]), "lists no images"),
        (lambda c: c["annotations"][0].update(iscrowd=1), "no box but crowds"),
        (lambda c: c.update(annotations=[]), "no box but crowds"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, "three", 4]), "must be four finite numbers"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, 3]), "must be four finite numbers"),
        (lambda c: c["annotations"][0].update(category_id=4), r"has category 4, but the file defines \[3, 17\]"),
        (lambda c: c["annotations"][0].update(image_id=9), "is on image 9, which is not listed"),
        (lambda c: c["images"][0].update(file_name="1.png"), "does not exist"),
    ],
)
def test_data_that_cannot_be_scored_on_is_refused_before_any_work(split, edit, message):
    with pytest.raises(DataError, match=message):
        split(edit)


def test_zero_area_boxes_are_no_error(split):
    more = {"id": 5, "image_id": 1, "category_id": 17, "bbox": [4, 4, 0, 9], "area": 0, "iscrowd": 0}
    assert len(split(lambda content: content["annotations"].append(more))) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", 100], "--size must be a multiple of 32, better of 128, got 100"),
        (["--batch-size", 0], "--batch-size must be positive, got 0"),
        (["--resize", "crop"], "--resize is one of letterbox, torchvision, got 'crop'"),
        (["--scorer", "mine"], "--scorer is one of pycocotools, faster_coco_eval, got 'mine'"),
        (["--device", "tpu9"], "--device tpu9: "),
        (["--device", "cuda:77"], "--device cuda:77: "),
        (["--annotations", "nowhere.json"], "there is no file nowhere.json; give --annotations"),
    ],
)
def test_wrong_options_are_one_line(tmp_path, directory, split, in_process, arguments, message):
    split()
    command = ["evaluate", directory, "--annotations", tmp_path / "a.json", "--images", tmp_path, "--out", tmp_path]
    code, _, errors = in_process(*command, *arguments)
    assert code == 2
    assert message in errors
    assert "Traceback" not in errors
