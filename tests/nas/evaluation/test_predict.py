"""Detections in images without annotations: the same as on annotated ones, drawn, in COCO's formats, a line each."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from nas.data.bare_images import find_images
from nas.data.config import DataError
from nas.detection.saved import load_detector
from nas.evaluation.evaluate import Settings
from nas.evaluation.predict import predict
from tests.support.busy_detector import IDS, SIDE, save_busy_detector
from tests.support.detections import Limits, assert_same_detections

ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "detector"
    save_busy_detector(path)
    return path


def picture(path, width=SIDE, height=SIDE, seed=0, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    image.save(path, **options)
    return image


def loaded(out):
    truth = COCO(str(out / "images.json"))
    return truth, truth.loadRes(str(out / "detections.json"))


def test_json_is_what_evaluate_finds_and_pycocotools_loads(tmp_path, directory, in_process):
    """The two commands on the same images; the detector's categories are not in the order of their ids."""
    folder = tmp_path / "images"
    sizes = [(150, 90), (64, 128), (SIDE, SIDE)]
    for index, (width, height) in enumerate(sizes):
        picture(folder / f"{index}.png", width, height, seed=index)
    code, shown, errors = in_process("predict", directory, folder, "--out", tmp_path / "out", "--min-score", 0.25)
    assert (code, errors) == (0, "")
    truth, found = loaded(tmp_path / "out")
    assert truth.cats == {key: {"id": key, "name": name} for key, name in IDS.items()}
    assert [(one["width"], one["height"]) for one in truth.imgs.values()] == sizes
    box = {"id": 1, "image_id": 1, "category_id": 3, "bbox": [5, 5, 30, 30], "area": 900, "iscrowd": 0}
    entries = [{**one, "file_name": f"{index}.png"} for index, one in enumerate(truth.imgs.values())]
    content = {"images": entries, "annotations": [box], "categories": list(truth.cats.values())}
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    command = ["evaluate", directory, "--annotations", tmp_path / "annotations.json", "--images", folder]
    assert in_process(*command, "--out", tmp_path / "scored")[0] == 0
    keys = ("image_id", "category_id", "bbox", "score")
    scored = [one for one in json.loads((tmp_path / "scored" / "detections.json").read_text()) if one["score"] >= 0.25]
    ours = [{key: one[key] for key in keys} for one in found.anns.values()]
    assert len(ours) > 10
    assert sorted(map(str, ours)) == sorted(map(str, scored))
    count = {name: sum(one["category_id"] == key for one in ours if one["image_id"] == 1) for key, name in IDS.items()}
    best = max(one["score"] for one in ours if one["image_id"] == 1 and one["category_id"] == 17)
    assert f"{folder / '0.png'}: " in shown
    assert f"{count['dog']} dog ({best:.2f})" in shown
    assert f"{len(ours)} detections with score >= 0.25 in 3 images" in shown


def test_detections_are_drawn_at_their_places(tmp_path, directory, in_process):
    picture(tmp_path / "a" / "one.png", 300, 200)
    picture(tmp_path / "b" / "one.jpg", 3000, 100)
    command = ["predict", directory, tmp_path / "a", tmp_path / "b" / "one.jpg", "--out", tmp_path / "out"]
    assert in_process(*command, "--min-score", 0.2)[0] == 0
    drawn = {path.name: Image.open(path).convert("RGB") for path in (tmp_path / "out" / "pictures").iterdir()}
    assert {name: image.size for name, image in drawn.items()} == {"one.jpg": (640, 426), "one-2.jpg": (2048, 68)}
    assert in_process(*command, "--min-score", 1)[0] == 0
    assert json.loads((tmp_path / "out" / "detections.json").read_text()) == []
    without = np.asarray(Image.open(tmp_path / "out" / "pictures" / "one.jpg"), dtype=int)
    changed = np.abs(np.asarray(drawn["one.jpg"], dtype=int) - without).sum(-1) > 100
    assert 0.002 < changed.mean() < 0.5


def test_the_edges_of_a_box_are_drawn_where_it_is(directory):
    from matplotlib.patches import Rectangle
    from torch import tensor, zeros

    from nas.data.evaluate import Detections
    from nas.evaluation.pictures import detections_on_image

    found = Detections(tensor([[10.0, 20, 60, 70]]), tensor([0.5]), tensor([1]))
    figure = detections_on_image(zeros(3, 100, 200).byte(), ["a", "b"], found)
    figure.canvas.draw()
    (axes,) = figure.axes
    (patch,) = [one for one in axes.patches if isinstance(one, Rectangle)]
    assert patch.get_bbox().extents.tolist() == [10, 20, 60, 70]
    assert [one.get_text() for one in axes.texts] == ["b 0.50"]
    assert axes.get_window_extent().bounds == pytest.approx((0, 0, 640, 320))


def test_images_are_turned_as_exif_says(tmp_path, directory):
    image = picture(tmp_path / "upright.png")
    exif = Image.Exif()
    exif[ORIENTATION] = 3
    image.transpose(Image.Transpose.ROTATE_180).save(tmp_path / "turned.png", exif=exif)
    detector, spec = load_detector(directory)
    paths = [tmp_path / "upright.png", tmp_path / "turned.png"]
    upright, turned = predict(detector, spec, paths, Settings(size=SIDE), 0.0)
    assert len(upright.found.scores)
    assert_same_detections(turned.found, upright.found, Limits.of(detector))


def test_files_that_are_no_images_are_named_and_left_out(tmp_path, directory, in_process):
    picture(tmp_path / "images" / "good.png")
    torn = tmp_path / "images" / "torn.png"
    torn.write_bytes((tmp_path / "images" / "good.png").read_bytes()[:500])
    code, shown, errors = in_process("predict", directory, tmp_path / "images", "--out", tmp_path / "out")
    assert (code, errors) == (1, "")
    assert f"{torn} cannot be read" in shown
    assert "in 1 images" in shown
    assert "left out: 1 files that are no images" in shown
    assert len(json.loads((tmp_path / "out" / "images.json").read_text())["images"]) == 1
    code, _, errors = in_process("predict", directory, torn, "--out", tmp_path / "other")
    assert code == 2
    assert "none of the 1 files could be read as images" in errors


def test_directories_are_searched_and_earlier_pictures_are_not_images(tmp_path):
    for name in ("b.PNG", "a.jpg", "deep/c.tif", ".hidden/d.png", ".e.png", "out/pictures/f.jpg"):
        picture(tmp_path / name, 8, 8)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "figure.eps").write_text("%!PS")
    found = find_images([tmp_path / "deep" / "c.tif", tmp_path], without=tmp_path / "out" / "pictures")
    assert [str(path.relative_to(tmp_path)) for path in found] == ["deep/c.tif", "a.jpg", "b.PNG"]
    with pytest.raises(DataError, match="holds no images"):
        find_images([tmp_path / "out"], without=tmp_path / "out" / "pictures")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.png"], "there is no file or directory nowhere.png; name images or directories with images"),
        (["images", "--device", "cuda:99"], "--device cuda:99: "),
        (["images", "--size", "100"], "--size must be a multiple of 32"),
        (["images", "--out", "images/a.png"], "images/a.png/pictures cannot be written to"),
        ([".."], "--value-range"),
    ],
)
def test_wrong_input_is_one_line(tmp_path, directory, in_process, monkeypatch, arguments, message):
    picture(tmp_path / "images" / "a.png")
    monkeypatch.chdir(tmp_path)
    more = ["--value-range", "9", "1"] if message == "--value-range" else []
    code, _, errors = in_process(
        "predict", directory, *arguments, *([] if "--out" in arguments else ["--out", "out"]), *more
    )
    assert code == 2
    assert message in errors
    assert "Traceback" not in errors


def test_what_is_no_detector_is_named(tmp_path, in_process):
    picture(tmp_path / "a.png")
    code, _, errors = in_process("predict", tmp_path / "nothing", tmp_path / "a.png", "--out", tmp_path / "out")
    assert code == 2
    assert f"there is no directory {tmp_path / 'nothing'}" in errors
