"""Data sets for YOLO and of Pascal VOC come back as COCO: boxes to the pixel, classes by name, every image."""

from __future__ import annotations

import json
import re
import shlex

import pytest
from PIL import Image

from nas.data.coco import CocoSplit, open_splits
from nas.data.config import DataError
from nas.data.formats.convert import convert_data
from nas.data.formats.labels import AT_ONCE
from nas.errors import UserError
from tests.support.other_formats import (
    NAMES,
    ULTRALYTICS,
    devkit,
    lists_of_images,
    picture,
    roboflow,
    truth_of,
    ultralytics,
    voc_file,
    voc_folders,
    yolo_line,
)

pytest.importorskip("supervision")

ORIENTATION = 0x0112
LAYOUTS = {
    "ultralytics": ("yolo", ultralytics),
    "roboflow": ("yolo", roboflow),
    "lists": ("yolo", lists_of_images),
    "devkit": ("voc", devkit),
    "folders": ("voc", voc_folders),
}


def boxes_of(split: CocoSplit):
    """Image name without its folder -> width, height, and classes with boxes."""
    found = {}
    for index, image_id in enumerate(split.image_ids):
        image, target = split[index]
        entry = split.coco.imgs[image_id]
        assert image.shape[1:] == (entry["height"], entry["width"])
        kinds = [split.classes[label] for label in target["labels"].tolist()]
        objects = list(zip(kinds, target["boxes"].tolist(), strict=True))
        found[entry["file_name"].rpartition("/")[2]] = (entry["width"], entry["height"], objects)
    return found


@pytest.mark.parametrize("layout", LAYOUTS)
def test_everything_comes_back(tmp_path, layout):
    name, write = LAYOUTS[layout]
    write(tmp_path / "source")
    config = convert_data(name, tmp_path / "source", tmp_path / "made")
    splits = open_splits(config)
    for role, split in (("train", splits.train), ("reward", splits.reward), ("test", splits.test)):
        found, truth = boxes_of(split), truth_of({"reward": "val"}.get(role, role))
        assert found.keys() == truth.keys()
        for image, (width, height, objects) in truth.items():
            assert found[image][:2] == (width, height)
            ours = sorted(found[image][2], key=str)
            for (kind, box), (same, other) in zip(ours, sorted(_floats(objects), key=str), strict=True):
                assert kind == same
                assert box == pytest.approx(other, abs=0.01)
    content = json.loads((tmp_path / "made" / "annotations" / "instances_test.json").read_text())
    named = {entry["name"]: entry["id"] for entry in content["categories"]}
    every = (
        {"apple": 2, "mug": 4, "never there": 3, "zebra": 1} if name == "yolo" else {"apple": 1, "mug": 2, "zebra": 3}
    )
    assert named == every


def _floats(objects):
    return [(kind, [float(side) for side in box]) for kind, box in objects]


def test_the_command_converts_checks_and_says_how_to_go_on(tmp_path, in_process, monkeypatch):
    ultralytics(tmp_path / "source")
    text = (tmp_path / "source" / "data.yaml").read_text().replace("val:", "# ").replace("test:", "# ")
    (tmp_path / "source" / "data.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    code, shown, errors = in_process("data", "convert", "yolo", "source", "--output", "made")
    assert (code, errors) == (0, "")
    assert "train: 6 images, 15 boxes" in shown
    assert "category 3 ('never there') has no a" in shown
    assert "made: errors: 0, warnings: " in shown
    assert "in a configuration: DataConfig(root='made', reward=None, test=None, holdout=1)" in shown
    advice = shlex.split(re.search("to check it again: nasfpn (.*)", shown)[1])
    code, shown, _ = in_process(*advice)
    assert code == 0
    assert "made: errors: 0" in shown


def test_polygons_become_the_boxes_around_them(tmp_path):
    ultralytics(tmp_path)
    name, (width, height, _) = list(truth_of("train").items())[1]
    corners = [(4, 6), (20, 6), (12, 30)]
    line = " ".join(["1", *(f"{x / width:.6f} {y / height:.6f}" for x, y in corners)])
    (tmp_path / "labels" / "train" / name).with_suffix(".txt").write_text(line)
    found = boxes_of(open_splits(convert_data("yolo", tmp_path, tmp_path / "made")).train)
    ((kind, box),) = found[name][2]
    assert kind == "apple"
    assert box == pytest.approx([4, 6, 20, 30], abs=0.01)


def test_more_images_than_are_read_at_once_keep_their_labels(tmp_path):
    number = AT_ONCE + 3
    for index in range(number):
        picture(tmp_path / "train" / f"{index}.png", 50 + index, 50)
        objects = [(NAMES[0], (index % 30, 2, index % 30 + 10, 12))]
        (tmp_path / "train" / f"{index}.xml").write_text(voc_file(f"{index}.png", 50 + index, 50, objects))
    found = boxes_of(CocoSplit(*_train(convert_data("voc", tmp_path, tmp_path / "made"), tmp_path / "made")))
    assert len(found) == number
    for index in range(number):
        assert found[f"{index}.png"] == (50 + index, 50, [(NAMES[0], [index % 30, 2, index % 30 + 10, 12])])


def _train(config, root):
    return root / config.train.annotations, root / config.train.images


def test_a_box_far_outside_is_left_for_the_check(tmp_path, in_process):
    ultralytics(tmp_path / "source")
    name, (width, height, _) = list(truth_of("train").items())[1]
    line = yolo_line("mug", (2 * width, 5, 3 * width, 20), width, height)
    (tmp_path / "source" / "labels" / "train" / name).with_suffix(".txt").write_text(line)
    code, shown, _ = in_process("data", "convert", "yolo", tmp_path / "source", "--output", tmp_path / "made")
    assert "outside" in shown
    assert code in (0, 1)


def test_upright_images_have_their_boxes_upright(tmp_path):
    """YOLO's numbers are shares of the image as it is shown."""
    ultralytics(tmp_path)
    name, (width, height, objects) = list(truth_of("train").items())[1]
    path = tmp_path / "images" / "train" / name
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    found = boxes_of(open_splits(convert_data("yolo", tmp_path, tmp_path / "made")).train)[name]
    assert found[:2] == (width, height)
    assert sorted(box[0] for _, box in found[2]) == pytest.approx(sorted(box[0] for _, box in objects), abs=0.01)


def broken_label(root):
    next((root / "labels" / "train").glob("*.txt")).write_text("0 0.5 half 0.1 0.1\n")
    return r"the labels cannot be read: .*train_\d\.txt"


def unknown_class(root):
    next((root / "labels" / "train").glob("*.txt")).write_text("9 0.5 0.5 0.1 0.1\n")
    return r"train_\d\.png.* class_id 9"


def torn_image(root):
    next((root / "images" / "train").glob("*_1.png")).write_bytes(b"no image")
    return r"train_1\.png"


def no_train(root):
    (root / "data.yaml").write_text(f"val: images/val\nnames: {list(NAMES)}\n")
    return "names no images to train on"


def no_such_folder(root):
    (root / "data.yaml").write_text(f"train: images/gone\nnames: {list(NAMES)}\n")
    return "train is 'images/gone', but there is no"


def no_names(root):
    (root / "data.yaml").write_text("train: images/train\n")
    return "names"


def code_in_yaml(root):
    (root / "data.yaml").write_text("train: !!python/object/apply:os.getcwd []\n")
    return "cannot be read as YAML"


def no_yaml(root):
    (root / "data.yaml").unlink()
    return "must hold one YAML file with the splits and the classes, such as data.yaml, but has none"


def two_equal_names(root):
    (root / "data.yaml").write_text(ULTRALYTICS.replace("never there", "mug"))
    return "names a class twice"


@pytest.mark.parametrize(
    "spoil",
    [
        broken_label,
        unknown_class,
        torn_image,
        no_train,
        no_such_folder,
        no_names,
        code_in_yaml,
        no_yaml,
        two_equal_names,
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, spoil):
    ultralytics(tmp_path / "source")
    message = spoil(tmp_path / "source")
    with pytest.raises(DataError, match=message) as raised:
        convert_data("yolo", tmp_path / "source", tmp_path / "made")
    assert "\n" not in str(raised.value)
    assert "nasfpn-" not in str(raised.value), "no temporary names"


def test_xml_that_blows_up_or_is_torn_is_one_line(tmp_path):
    bomb = (
        '<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><annotation><object><name>&c;</name></object></annotation>'
    )
    for text in (bomb, "<annotation><object>", "<annotation><object><name>a</name></object></annotation>"):
        picture(tmp_path / "train" / "a.png", 40, 40)
        (tmp_path / "train" / "a.xml").write_text(text)
        with pytest.raises(DataError, match="the labels cannot be read") as raised:
            convert_data("voc", tmp_path, tmp_path / "made")
        assert "\n" not in str(raised.value)


def test_other_words_and_places_are_refused(tmp_path, monkeypatch):
    ultralytics(tmp_path / "source")
    with pytest.raises(DataError, match="unknown format 'pascal'; known are yolo, voc"):
        convert_data("pascal", tmp_path / "source", tmp_path / "made")
    with pytest.raises(DataError, match="holds no XML file"):
        convert_data("voc", tmp_path / "source", tmp_path / "made")
    with pytest.raises(DataError, match="there is no directory"):
        convert_data("voc", tmp_path / "gone", tmp_path / "made")
    with pytest.raises(DataError, match="is not empty"):
        convert_data("yolo", tmp_path / "source", tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "supervision", None)
    with pytest.raises(UserError, match=r"pip install 'nas-fpn\[convert\]'"):
        convert_data("yolo", tmp_path / "source", tmp_path / "made")
