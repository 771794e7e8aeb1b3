"""Layout of data sets in Pascal VOC's format: an XML file per image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from nas.data.config import DataError
from nas.data.formats.layout import ROLES, Labelled, Layout, lines_of
from nas.data.image_files import images_below

IMAGES, ANNOTATIONS, LISTS = "JPEGImages", "Annotations", Path("ImageSets", "Main")


def voc_layout(directory: Path) -> Layout:
    """Splits as the challenge has them, as exports have them, or all to train on.

    With `JPEGImages` and `Annotations` splits are the lists in `ImageSets/Main` (`train`, `val`, `test`, and `trainval`
    where there is no `train`); without lists every image is to train on. Else each directory `train`, `valid`, `val` or
    `test` is a split, and without these the whole directory is to train on, an XML file beside each image.

    Raises:
        DataError: for a directory without images to train on, or lists of images that are not there.
    """
    if not directory.is_dir():
        raise DataError(f"there is no directory {directory}; give one with JPEGImages and Annotations")
    if (directory / IMAGES).is_dir():
        splits = _listed(directory) or {"train": _beside(directory / IMAGES, directory / ANNOTATIONS)}
    else:
        folders = {role: directory / name for name, role in ROLES.items() if (directory / name).is_dir()}
        folders = folders or {"train": directory}
        splits = {role: _beside(folder, folder) for role, folder in folders.items()}
    found = {role: tuple(images) for role, images in splits.items()}
    if not found.get("train"):
        raise DataError(f"{directory} holds no images to train on; it needs JPEGImages and Annotations, or train/")
    if not any(each.labels.is_file() for images in found.values() for each in images):
        raise DataError(f"{directory} holds no XML file of labels for any of its images")
    return Layout(found)


def _beside(images: Path, annotations: Path) -> list[Labelled]:
    return [
        Labelled(path, name.as_posix(), (annotations / name).with_suffix(".xml"))
        for path in images_below(images)
        for name in [path.relative_to(images)]
    ]


def _listed(directory: Path) -> dict[str, list[Labelled]]:
    lists = {path.stem: path for path in (directory / LISTS).glob("*.txt")}
    if "train" not in lists and "trainval" in lists:
        lists["train"] = lists["trainval"]
    every = {
        Path(each.name).with_suffix("").as_posix(): each
        for each in _beside(directory / IMAGES, directory / ANNOTATIONS)
    }
    return {role: list(_of(lists[name], every)) for name, role in ROLES.items() if name in lists}


def _of(path: Path, every: dict[str, Labelled]) -> Iterator[Labelled]:
    for name in _names(path):
        if name not in every:
            raise DataError(f"{path} names {name!r:.200}, but there is no such image")
        yield every[name]


def _names(path: Path) -> Iterable[str]:
    """Lists of a class have a second column, which says whether it is in the image."""
    return [line.split()[0] for line in lines_of(path)]
