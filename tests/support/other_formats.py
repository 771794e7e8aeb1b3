"""Small data sets for YOLO and of Pascal VOC, with what is in them."""

from __future__ import annotations

import zlib

import numpy as np
from PIL import Image

NAMES = ("zebra", "apple", "never there", "mug")
"""In YOLO's order; one has no box."""
NUMBERS = {"train": 6, "val": 3, "test": 2}


def truth_of(split):
    """Image name -> width, height and objects; the first image of each split has none."""
    rng = np.random.default_rng(sorted(NUMBERS).index(split))
    truth = {}
    for index in range(NUMBERS[split]):
        width, height = (int(side) for side in rng.integers(40, 90, 2))
        objects = []
        for _ in range(0 if index == 0 else 3):
            x, y = rng.integers(0, width - 20), rng.integers(0, height - 20)
            w, h = rng.integers(5, 20, 2)
            objects.append((str(rng.choice([NAMES[0], NAMES[1], NAMES[3]])), (int(x), int(y), int(x + w), int(y + h))))
        truth[f"{split}_{index}.png"] = (width, height, objects)
    return truth


def picture(path, width, height):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(zlib.crc32(path.name.encode())).integers(0, 255, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def yolo_line(name, box, width, height):
    x1, y1, x2, y2 = box
    numbers = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
    return " ".join([str(NAMES.index(name)), *(f"{number:.6f}" for number in numbers)])


def write_yolo(root, images, labels, description):
    """
    Args:
        images, labels: patterns with the split's name. The first image has no file of labels, that of val an empty one.
    """
    for split in NUMBERS:
        for name, (width, height, objects) in truth_of(split).items():
            picture(root / images.format(split) / name, width, height)
            path = (root / labels.format(split) / name).with_suffix(".txt")
            path.parent.mkdir(parents=True, exist_ok=True)
            if objects or split == "val":
                path.write_text("".join(yolo_line(kind, box, width, height) + "\n" for kind, box in objects))
    (root / "data.yaml").write_text(description)


def voc_file(name, width, height, objects):
    entries = "".join(
        f"<object><name>{kind}</name><difficult>0</difficult><bndbox><xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for kind, (x1, y1, x2, y2) in objects
    )
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation><filename>{name}</filename>{size}{entries}</annotation>"


def write_voc(root, images, annotations, lists=None):
    for split in NUMBERS:
        for index, (name, (width, height, objects)) in enumerate(truth_of(split).items()):
            picture(root / images.format(split) / name, width, height)
            path = (root / annotations.format(split) / name).with_suffix(".xml")
            path.parent.mkdir(parents=True, exist_ok=True)
            if index:
                path.write_text(voc_file(name, width, height, objects))
        if lists is not None:
            (root / lists).mkdir(parents=True, exist_ok=True)
            (root / lists / f"{split}.txt").write_text("".join(f"{name[:-4]}\n" for name in truth_of(split)))


ULTRALYTICS = f"path: ../elsewhere\ntrain: images/train\nval: images/val\ntest: images/test\nnames: {list(NAMES)}\n"
ROBOFLOW = (
    "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n"
    f"nc: 4\nnames:\n{''.join(f'  {i}: {name}' + chr(10) for i, name in enumerate(NAMES))}"
)


def ultralytics(root):
    write_yolo(root, "images/{}", "labels/{}", ULTRALYTICS)


def roboflow(root):
    write_yolo(root, "{}/images", "{}/labels", ROBOFLOW)
    (root / "val").rename(root / "valid")


def lists_of_images(root):
    write_yolo(root, "all/images/{}", "all/labels/{}", "train: train.txt\nval: val.txt\ntest: test.txt\n")
    with (root / "data.yaml").open("a") as file:
        file.write(f"names: {list(NAMES)}\n")
    for split in NUMBERS:
        (root / f"{split}.txt").write_text("".join(f"./all/images/{split}/{name}\n" for name in truth_of(split)))


def devkit(root):
    write_voc(root, "JPEGImages", "Annotations", "ImageSets/Main")


def voc_folders(root):
    write_voc(root, "{}", "{}")
