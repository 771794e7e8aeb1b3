"""COCO-format splits as torch data sets, and how the three splits of a data set are opened."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.ops import box_convert, clip_boxes_to_image
from torchvision.transforms.functional import pil_to_tensor

from nas.data.archive import open_root
from nas.data.classes import chosen_categories, difference
from nas.data.config import DataConfig, DataError, SplitConfig
from nas.data.file_names import OutsideError, image_file
from nas.data.image_files import USUAL, Reading, UnreadableImageError, WrongSizeError, read_rgb
from nas.data.instances import index_instances, read_instances, with_categories


class Target(TypedDict):
    """Annotated objects of one image."""

    boxes: Tensor
    """float32 (n, 4), x1 y1 x2 y2 in pixels, inside the image."""
    labels: Tensor
    """int64 (n,), 0 .. number of classes - 1, in order of category id."""
    image_id: int


class CocoSplit(Dataset[tuple[Tensor, Target]]):
    """Images and boxes of one COCO instances file.

    An item is the image, uint8 (3, H, W) RGB, and its `Target`. Crowd annotations are no targets, though
    evaluation knows them. Boxes are clipped to their image, and those without any area are left out (COCO's own
    train2017 has some). Images without boxes are kept, with shapes (0, 4) and (0,).

    Args:
        annotations: the JSON file.
        images: folder that the `file_name`s are relative to.
        keep: image ids to use; all by default. Their order does not matter.
        allow_outside: whether `file_name`s may be absolute or lead out of that folder.
        reading: how pixels are read.

    Raises:
        DataError: if the file is missing or is not a COCO instances file, an id in `keep` is unknown, or a file name is
            not allowed.
    """

    def __init__(
        self,
        annotations: Path,
        images: Path,
        keep: Sequence[int] | None = None,
        *,
        allow_outside: bool = False,
        reading: Reading = USUAL,
    ) -> None:
        self.annotations = Path(annotations)
        self.images = Path(images)
        content, raw = read_instances(self.annotations)
        self.coco = index_instances(content, self.annotations)
        self._content_hash = hashlib.sha256(raw).hexdigest()
        self._allow_outside = allow_outside
        self._reading = reading
        self.image_ids = self._known(self.coco.imgs if keep is None else keep)
        self._left_out: tuple[int, ...] = ()
        self._set_classes()
        for image_id in self.image_ids:
            self.image_path(image_id)

    def subset(self, keep: Sequence[int]) -> CocoSplit:
        """The same data set with other images; the parsed annotations are shared."""
        other = object.__new__(CocoSplit)
        other.__dict__.update(self.__dict__)
        other.image_ids = self._known(keep)
        return other

    def with_categories(self, keep: Collection[int]) -> CocoSplit:
        """The same images with some of the categories only, and their annotations."""
        if set(self.category_ids) <= set(keep):
            return self
        other = self.subset(self.image_ids)
        other.coco = with_categories(self.coco, keep)
        other._left_out = tuple(sorted({*self._left_out, *self.category_ids} - set(keep)))
        other._set_classes()
        return other

    def boxes_of_categories(self) -> Counter[int]:
        """Number of boxes to be found in these images, by category id."""
        every = (item for image in self.image_ids for item in self.coco.imgToAnns.get(image, []))
        return Counter(item["category_id"] for item in every if not item.get("iscrowd", 0))

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, index: int) -> tuple[Tensor, Target]:
        image_id = self.image_ids[index]
        image = self._load_image(image_id)
        return image, self.target(index)

    def target(self, index: int) -> Target:
        """The target of an item without reading its image: the annotations state its size."""
        info = self.coco.imgs[self.image_ids[index]]
        return self._target(self.image_ids[index], info["height"], info["width"])

    def image_path(self, image_id: int) -> Path:
        """
        Raises:
            DataError: for a file name that is not allowed.
        """
        try:
            return image_file(self.images, self.coco.imgs[image_id]["file_name"], allow_outside=self._allow_outside)
        except OutsideError as error:
            raise DataError(f"{self.annotations}: image {image_id} {error}") from error

    def _set_classes(self) -> None:
        self.category_ids: tuple[int, ...] = tuple(sorted(self.coco.cats))
        self.classes: tuple[str, ...] = tuple(str(self.coco.cats[key]["name"]) for key in self.category_ids)
        self._labels = {category: label for label, category in enumerate(self.category_ids)}

    def _known(self, keep: Any) -> tuple[int, ...]:
        unknown = sorted(set(keep) - set(self.coco.imgs))
        if unknown:
            raise DataError(
                f"image ids to keep must be in {self.annotations}, but {unknown[:5]} ({len(unknown)} in all) are not"
            )
        return tuple(sorted(set(keep)))

    def _load_image(self, image_id: int) -> Tensor:
        path, info = self.image_path(image_id), self.coco.imgs[image_id]
        try:
            return pil_to_tensor(read_rgb(path, info["width"], info["height"], self._reading))
        except (UnreadableImageError, WrongSizeError) as error:
            raise DataError(f"{path} (image {image_id}) {error}; run `nasfpn data check`") from error

    def _target(self, image_id: int, height: int, width: int) -> Target:
        found = [item for item in self.coco.imgToAnns.get(image_id, []) if not item.get("iscrowd", 0)]
        boxes = torch.tensor([item["bbox"] for item in found], dtype=torch.float32).reshape(len(found), 4)
        labels = torch.tensor([self._labels[item["category_id"]] for item in found], dtype=torch.int64)
        boxes = clip_boxes_to_image(box_convert(boxes, "xywh", "xyxy"), (height, width))
        return {"boxes": boxes, "labels": labels, "image_id": image_id}


@dataclass(frozen=True)
class Splits:
    """The opened splits of a data set; all have the classes that train has boxes of, as far as they were chosen."""

    train: CocoSplit
    reward: CocoSplit
    test: CocoSplit | None


def open_splits(config: DataConfig) -> Splits:
    """Open a data set, after making or unpacking it where the configuration asks for that.

    Raises:
        DataError: if the root or an annotation file is missing or broken, the splits' categories differ, a chosen
            category is unknown, train has no boxes, or more images are to be held out than there are.
    """
    root = open_root(config)
    train = _open(root, config.train, config)
    test = None if config.test is None else _open(root, config.test, config)
    if config.reward is None:
        train, reward = hold_out(train, config.holdout, config.split_seed)
    else:
        reward = _open(root, config.reward, config)
    classes = _classes(train, config.categories)
    for split in (reward, test):
        if split is not None and split.coco is not train.coco:
            _check_same_categories(train, classes, split, config.categories)
    trained = train.with_categories(classes)
    return Splits(
        trained,
        trained.subset(reward.image_ids) if reward.coco is train.coco else reward.with_categories(classes),
        None if test is None else test.with_categories(classes),
    )


def hold_out(train: CocoSplit, count: int, seed: int) -> tuple[CocoSplit, CocoSplit]:
    """Divide a split into the rest and `count` images drawn with `seed`: (train, reward)."""
    if not 0 < count < len(train):
        raise DataError(
            f"{train.annotations} has {len(train)} images, so 1 to {len(train) - 1} can be held out, but "
            f"holdout is {count}; change data.holdout"
        )
    held_out = draw_ids(train.image_ids, count, seed)
    return train.subset([image for image in train.image_ids if image not in held_out]), train.subset(list(held_out))


def draw_ids(image_ids: Sequence[int], count: int, seed: int) -> frozenset[int]:
    """`count` of the ids, drawn without replacement; their order and that of other draws do not matter."""
    order = np.random.default_rng(seed).permutation(np.asarray(sorted(image_ids), dtype=np.int64))
    return frozenset(order[:count].tolist())


def digest(split: CocoSplit) -> str:
    """Identifies the split's content for caches: the annotation file's bytes, and the size and time of every image; the
    range of values and the categories that are left out, where there are such."""
    found = hashlib.sha256(split._content_hash.encode())
    for image_id in split.image_ids:
        status = split.image_path(image_id).stat()
        found.update(f"{image_id}:{status.st_size}:{status.st_mtime_ns};".encode())
    if split._reading.value_range is not None:
        found.update(f"values {split._reading.value_range};".encode())
    if split._left_out:
        found.update(f"without {split._left_out};".encode())
    return found.hexdigest()[:32]


def _open(root: Path, split: SplitConfig, config: DataConfig) -> CocoSplit:
    reading = Reading(value_range=config.value_range, max_pixels=config.max_pixels)
    return CocoSplit(root / split.annotations, root / split.images, allow_outside=config.allow_outside, reading=reading)


def _names(split: CocoSplit) -> dict[int, str]:
    return dict(zip(split.category_ids, split.classes, strict=True))


def _classes(train: CocoSplit, names: Sequence[str] | None) -> tuple[int, ...]:
    boxes = train.boxes_of_categories()
    classes = tuple(key for key in chosen_categories(train.annotations, _names(train), names) if boxes[key])
    if not classes:
        raise DataError(
            f"{train.annotations} has no box to learn from in the {len(train)} images to train on; run `nasfpn data "
            "check`"
        )
    return classes


def _check_same_categories(
    train: CocoSplit, classes: tuple[int, ...], other: CocoSplit, names: Sequence[str] | None
) -> None:
    extra = () if names else other.boxes_of_categories()
    if found := difference(_names(train), classes, _names(other), extra):
        raise DataError(
            f"all splits must have the same categories, but of {train.annotations} and {other.annotations} {found}; "
            "run `nasfpn data check`"
        )
