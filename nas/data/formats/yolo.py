"""Layout of data sets for YOLO: a YAML file that names the splits and the classes, and a text file per image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nas.data.config import DataError
from nas.data.formats.layout import ROLES, Labelled, Layout, lines_of
from nas.data.image_files import images_below

IMAGES, LABELS = "images", "labels"


def yolo_layout(directory: Path) -> Layout:
    """Splits of the one YAML file in a directory, or of a YAML file.

    A split is a directory, a text file with a path per line, or a list of these, relative to the YAML file's `path`, or
    to the YAML file itself. Of an image in `images/` the labels are in `labels/`, else beside it.

    Raises:
        DataError: without such a file or a split to train on, or for images that are not there.
    """
    description = _description(directory)
    content = _read(description)
    splits: dict[str, list[Labelled]] = {}
    for key, role in ROLES.items():
        if content.get(key):
            root = _root(description, content)
            splits.setdefault(role, []).extend(_labelled(key, content[key], root, description))
    if not splits.get("train"):
        raise DataError(f"{description} names no images to train on; it needs a field `train`, such as images/train")
    return Layout({role: tuple(images) for role, images in splits.items()}, description)


def _description(directory: Path) -> Path:
    if directory.is_file():
        return directory
    found = sorted([*directory.glob("*.yaml"), *directory.glob("*.yml")])
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise DataError(
            f"{directory} must hold one YAML file with the splits and the classes, such as data.yaml, but has {names}; "
            "give the file itself"
        )
    return found[0]


def _read(description: Path) -> Mapping[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(description.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DataError(f"{description} cannot be read as YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict):
        raise DataError(f"{description} must hold fields such as `train` and `names`")
    return content


def _root(description: Path, content: Mapping[str, Any]) -> Path:
    """`path` counts from the file, as others read it from elsewhere; one that is not there is left out."""
    root = description.parent / str(content.get("path") or ".")
    return root if root.is_dir() else description.parent


def _labelled(key: str, value: Any, root: Path, description: Path) -> Iterator[Labelled]:
    places = [str(place) for place in value] if isinstance(value, list) else [str(value)]
    for number, place in enumerate(places):
        prefix = Path(str(number)) if len(places) > 1 else Path()
        source = _found(place, root)
        if source is None:
            raise DataError(f"{description}: {key} is {place!r:.200}, but there is no {root / place}")
        if source.is_dir():
            images = list(images_below(source))
            if not images:
                raise DataError(f"{description}: {key} is {place!r:.200}, but {source} holds no images")
            names = [path.relative_to(source) for path in images]
        else:
            images = list(_listed(source, root))
            names = [_name(path, root) for path in images]
        for image, name in zip(images, names, strict=True):
            yield Labelled(image, (prefix / name).as_posix(), _labels_of(image))


def _found(place: str, root: Path) -> Path | None:
    """Roboflow's exports say `../train/images` and mean `train/images`."""
    tried = (root / place, root / place.removeprefix("../"))
    return next((path for path in tried if path.exists()), None)


def _listed(source: Path, root: Path) -> Iterator[Path]:
    for line in lines_of(source):
        path = next((base / line for base in (source.parent, root) if (base / line).is_file()), None)
        if path is None:
            raise DataError(f"{source} names {line!r:.200}, but there is no such file")
        yield path


def _name(path: Path, root: Path) -> Path:
    path, root = path.resolve(), root.resolve()
    return path.relative_to(root) if path.is_relative_to(root) else Path(*path.parts[1:])


def _labels_of(image: Path) -> Path:
    """The last `images` of the path is `labels`."""
    parts = list(image.parts)
    for place in reversed(range(len(parts) - 1)):
        if parts[place] == IMAGES:
            parts[place] = LABELS
            break
    return Path(*parts).with_suffix(".txt")
