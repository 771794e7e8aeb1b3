"""Finds what is wrong with a data set before it costs a training run.

Every problem is one line that names the file and the entry, and says what is wrong and what to do.
"""

from __future__ import annotations

import filecmp
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.data.annotations import Annotations, check_annotations, check_classes, check_scorable
from nas.data.archive import open_root
from nas.data.coco import draw_ids
from nas.data.config import DataConfig, DataError, SplitConfig
from nas.data.file_names import OutsideError, image_file
from nas.data.image_files import UnreadableImageError, WrongSizeError, read_rgb
from nas.data.instances import read_instances
from nas.data.problems import Findings, Problem


Found = tuple[Annotations, dict[int, Path]]
"""A split's annotations, and image id -> image file."""


def check_data(config: DataConfig, full: bool = False) -> list[Problem]:
    """All problems of a data set and its splits; errors first within each split.

    Args:
        config: the data set; an embedded one or one in an archive is made if it is missing.
        full: open every image too, and compare its size with the stated one. Without it only annotations and the
            existence of files are checked, which takes seconds.
    """
    root, overall = Path(config.root), Findings("data")
    if not _has_root(config, overall):
        return overall.problems()
    found: dict[str, Found] = {}
    problems: list[Problem] = []
    splits = {"train": config.train, "reward": config.reward, "test": config.test}
    for name, split in splits.items():
        if split is None:
            continue
        findings = Findings(name)
        one = _check_split(root, split, full, findings, allow_outside=config.allow_outside)
        if one is not None:
            found[name] = one
            _check_use(config, name, one[0], findings)
        problems += findings.problems()
    _check_together(found, overall)
    return problems + overall.problems()


def check_split(
    root: Path, split: SplitConfig, name: str = "train", full: bool = False, *, allow_outside: bool = False
) -> list[Problem]:
    """The problems of one split taken by itself; see `check_data`, and `image_file` for `allow_outside`."""
    findings = Findings(name)
    found = _check_split(root, split, full, findings, allow_outside=allow_outside)
    if found is not None:
        check_classes(found[0], frozenset(found[0].images), name == "train", findings)
    return findings.problems()


def _has_root(config: DataConfig, findings: Findings) -> bool:
    try:
        open_root(config)
    except DataError as error:
        findings.error("root" if config.embedded is None else "embedded", str(error))
        return False
    return True


def _check_split(
    root: Path, split: SplitConfig, full: bool, findings: Findings, *, allow_outside: bool
) -> Found | None:
    path = root / split.annotations
    try:
        content, _ = read_instances(path)
    except DataError as error:
        findings.error("file", str(error))
        return None
    annotations = check_annotations(path, content, findings)
    files = _image_files(annotations, root / split.images, findings, allow_outside=allow_outside)
    _check_files(annotations, root / split.images, files, full, findings)
    return annotations, files


def _image_files(
    annotations: Annotations, folder: Path, findings: Findings, *, allow_outside: bool
) -> dict[int, Path]:
    """Image id -> image file, of those whose name is allowed."""
    files = {}
    for image, entry in annotations.images.items():
        try:
            files[image] = image_file(folder, entry["file_name"], allow_outside=allow_outside)
        except OutsideError as error:
            findings.error("images outside", f"{annotations.path}: image {image} {error}")
    return files


def _check_use(config: DataConfig, name: str, annotations: Annotations, findings: Findings) -> None:
    """Whether every class can be learned and scored, with the hold-out applied."""
    everything = frozenset(annotations.images)
    if name != "train" or config.reward is not None:
        check_classes(annotations, everything, name == "train", findings)
        if name == "reward":
            check_scorable(annotations, everything, findings)
        return
    if config.holdout >= len(everything):
        findings.error(
            "holdout",
            f"{annotations.path} has {len(everything)} images, but {config.holdout} are to be held out of it for the "
            "reward; lower data.holdout",
        )
        return
    held_out = draw_ids(sorted(everything), config.holdout, config.split_seed)
    check_classes(annotations, everything - held_out, True, findings)
    check_classes(annotations, held_out, False, findings)
    check_scorable(annotations, held_out, findings)


def _check_files(
    annotations: Annotations, folder: Path, files: Mapping[int, Path], full: bool, findings: Findings
) -> None:
    if not folder.is_dir():
        findings.error(
            "image folder", f"the image folder {folder} does not exist; set its path in the data configuration"
        )
        return
    for image, path in files.items():
        entry = annotations.images[image]
        at = f"{annotations.path}: image {image} ({path})"
        if not path.is_file():
            findings.error("missing images", f"{at} does not exist; copy it there or remove the entry")
        elif full:
            _check_image(at, path, entry, findings)


def _check_image(at: str, path: Path, entry: Mapping[str, Any], findings: Findings) -> None:
    try:
        read_rgb(path, entry["width"], entry["height"])
    except UnreadableImageError as error:
        findings.error("unreadable images", f"{at} {error}; copy it again or remove the entry")
    except WrongSizeError as error:
        findings.error("wrong sizes", f"{at} {error}; annotate the stored image")


def _check_together(found: Mapping[str, Found], findings: Findings) -> None:
    """What concerns several splits: equal categories, no shared image."""
    names = list(found)
    for index, second in enumerate(names):
        for first in names[:index]:
            one, other = found[first][0], found[second][0]
            if index and first == names[0] and one.categories != other.categories:
                findings.error("categories", _difference(one, other))
            _check_shared(first, found[first], second, found[second], findings)


def _difference(one: Annotations, other: Annotations) -> str:
    mine, theirs = set(one.categories.items()), set(other.categories.items())
    return (
        f"the splits' categories must be equal, but {one.path} alone has {sorted(mine - theirs)} and {other.path} "
        f"alone has {sorted(theirs - mine)}; use the same list in both"
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
