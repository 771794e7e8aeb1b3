"""Finds what is wrong with a data set before it costs a training run.

Every problem is one line that names the file and the entry, and says what is wrong and what to do.
"""

from __future__ import annotations

import filecmp
from collections.abc import Collection, Mapping
from pathlib import Path

from nas.data.annotations import Annotations, check_annotations, check_scorable, check_scored, learnable
from nas.data.archive import open_root
from nas.data.classes import Classes, chosen_categories, difference
from nas.data.coco import draw_ids
from nas.data.config import DataConfig, DataError, SplitConfig
from nas.data.file_names import OutsideError, image_file
from nas.data.image_files import USUAL, Reading
from nas.data.instances import read_instances
from nas.data.opened_images import Told, open_images, report
from nas.data.problems import Findings, Problem

Found = tuple[Annotations, dict[int, Path]]
"""A split's annotations, and image id -> image file."""


def check_data(
    config: DataConfig, full: bool = False, told: Told = lambda done, all: None, *, anew: bool = True
) -> list[Problem]:
    """All problems of a data set and its splits; errors first within each split.

    Args:
        config: the data set; an embedded one or one in an archive is made if it is missing.
        full: open every image too, and compare its size with the stated one. Without it only annotations and the
            existence of files are checked, which takes seconds.
        told: hears how many of how many images of a split have been opened.
        anew: whether images are opened that were opened before, and are unchanged since; see `open_images`.
    """
    root, overall = Path(config.root), Findings("data")
    if not _has_root(config, overall):
        return overall.problems()
    found: dict[str, Found] = {}
    problems: list[Problem] = []
    reading = Reading(value_range=config.value_range, max_pixels=config.max_pixels)
    classes: Classes | None = None
    splits = {"train": config.train, "reward": config.reward, "test": config.test}
    for name, split in splits.items():
        if split is None:
            continue
        findings = Findings(name)
        one = _check_split(root, split, findings, allow_outside=config.allow_outside)
        if one is not None:
            if full:
                _check_images(root, one, reading, findings, told, anew=anew)
            found[name] = one
            if name == "train":
                classes = _check_train(config, one[0], findings)
            elif classes is not None:
                _check_use(name, one[0], classes, findings)
        problems += findings.problems()
    _check_together(config, found, classes, overall)
    return problems + overall.problems()


def check_split(
    root: Path,
    split: SplitConfig,
    name: str = "train",
    full: bool = False,
    *,
    allow_outside: bool = False,
    reading: Reading = USUAL,
) -> list[Problem]:
    """The problems of one split taken by itself; see `check_data`, and `image_file` for `allow_outside`."""
    findings = Findings(name)
    found = _check_split(root, split, findings, allow_outside=allow_outside)
    if found is not None:
        annotations, every = found[0], tuple(found[0].categories)
        if full:
            _check_images(root, found, reading, findings, lambda done, all: None, anew=True)
        if name == "train":
            learnable(annotations, annotations.images, every, findings)
        else:
            check_scored(annotations, annotations.images, Classes(every, every), findings)
    return findings.problems()


def _has_root(config: DataConfig, findings: Findings) -> bool:
    try:
        open_root(config)
    except DataError as error:
        findings.error("root" if config.embedded is None else "embedded", str(error))
        return False
    return True


def _check_split(root: Path, split: SplitConfig, findings: Findings, *, allow_outside: bool) -> Found | None:
    path = root / split.annotations
    try:
        content, _ = read_instances(path)
    except DataError as error:
        findings.error("file", str(error))
        return None
    annotations = check_annotations(path, content, findings)
    files = _image_files(annotations, root / split.images, findings, allow_outside=allow_outside)
    return annotations, _present(annotations, root / split.images, files, findings)


def _image_files(annotations: Annotations, folder: Path, findings: Findings, *, allow_outside: bool) -> dict[int, Path]:
    """Image id -> image file, of those whose name is allowed."""
    files = {}
    for image, entry in annotations.images.items():
        try:
            files[image] = image_file(folder, entry["file_name"], allow_outside=allow_outside)
        except OutsideError as error:
            findings.error("images outside", f"{annotations.path}: image {image} {error}")
    return files


def _check_train(config: DataConfig, annotations: Annotations, findings: Findings) -> Classes | None:
    """The classes, with the hold-out applied. Reports what cannot be learned, and in held-out images not be scored."""
    everything = frozenset(annotations.images)
    try:
        chosen = chosen_categories(annotations.path, annotations.categories, config.categories)
    except DataError as error:
        findings.error("categories", str(error))
        return None
    if config.reward is not None:
        return Classes(chosen, learnable(annotations, everything, chosen, findings))
    if config.holdout >= len(everything):
        findings.error(
            "holdout",
            f"{annotations.path} has {len(everything)} images, but {config.holdout} are to be held out of it for the "
            "reward; lower data.holdout",
        )
        return None
    held_out = draw_ids(sorted(everything), config.holdout, config.split_seed)
    classes = Classes(chosen, learnable(annotations, everything - held_out, chosen, findings))
    check_scored(annotations, held_out, classes, findings)
    check_scorable(annotations, held_out, classes, findings)
    return classes


def _check_use(name: str, annotations: Annotations, classes: Classes, findings: Findings) -> None:
    """Check that another split can score the classes that are learned."""
    check_scored(annotations, annotations.images, classes, findings)
    if name == "reward":
        check_scorable(annotations, annotations.images, classes, findings)


def _present(annotations: Annotations, folder: Path, files: dict[int, Path], findings: Findings) -> dict[int, Path]:
    """Those of the image files that exist."""
    if not folder.is_dir():
        findings.error(
            "image folder", f"the image folder {folder} does not exist; set its path in the data configuration"
        )
        return {}
    for image, path in files.items():
        if not path.is_file():
            findings.error(
                "missing images",
                f"{_at(annotations, image, path)} does not exist; copy it there or remove the entry",
            )
    return {image: path for image, path in files.items() if path.is_file()}


def _check_images(root: Path, found: Found, reading: Reading, findings: Findings, told: Told, *, anew: bool) -> None:
    annotations, files = found
    images = {image: (path, annotations.images[image]) for image, path in files.items()}
    outcome = open_images(images, reading, root, told, anew=anew)
    where = {image: _at(annotations, image, path) for image, path in files.items()}
    report(outcome, where, annotations.path, reading, findings)


def _at(annotations: Annotations, image: int, path: Path) -> str:
    return f"{annotations.path}: image {image} ({path})"


def _check_together(
    config: DataConfig, found: Mapping[str, Found], classes: Classes | None, findings: Findings
) -> None:
    """Check the splits together: equal categories, no shared image."""
    names = list(found)
    for index, second in enumerate(names):
        for first in names[:index]:
            _check_shared(first, found[first], second, found[second], findings)
        if index and classes and classes.trained:
            _check_categories(config, found["train"][0], classes.trained, found[second][0], findings)


def _check_categories(
    config: DataConfig, train: Annotations, classes: Collection[int], other: Annotations, findings: Findings
) -> None:
    extra = () if config.categories else other.counts(other.images)
    if differs := difference(train.categories, classes, other.categories, extra):
        findings.error(
            "categories",
            f"the splits' categories must be equal, but of {train.path} and {other.path} {differs}; use the same list "
            "in both, or choose those to detect with data.categories",
        )


def _check_shared(first: str, one: Found, second: str, other: Found, findings: Findings) -> None:
    """Images of one split that are in another, as the same file or as a copy under the same name."""
    by_name: dict[str, list[Path]] = {}
    for path in one[1].values():
        by_name.setdefault(path.name, []).append(path)
    for image, path in other[1].items():
        if any(_same_content(path, twin) for twin in by_name.get(path.name, [])):
            findings.error(
                "shared images",
                f"{other[0].path}: image {image} ({path}) of {second} is in {first} too, so its score would be of "
                "a seen image; remove it from one of them",
            )


def _same_content(path: Path, twin: Path) -> bool:
    return path == twin or (path.is_file() and twin.is_file() and filecmp.cmp(path, twin, shallow=False))
