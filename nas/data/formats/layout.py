"""Images of a data set in another format, with the file of labels that belongs to each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nas.data.config import DataError

ROLES = {"train": "train", "val": "reward", "valid": "reward", "validation": "reward", "test": "test"}
"""Name of a split elsewhere -> ours."""


@dataclass(frozen=True)
class Labelled:
    """
    Args:
        name: of the image in the written data set, relative to the split's folder.
        labels: file that may not be there, for an image without objects.
    """

    image: Path
    name: str
    labels: Path


@dataclass(frozen=True)
class Layout:
    """
    Args:
        splits: of ours (`train`, `reward`, `test`) -> its images.
        description: the file with the classes' names, of formats that have one.
    """

    splits: Mapping[str, tuple[Labelled, ...]]
    description: Path | None = None


def lines_of(path: Path) -> list[str]:
    """Lines of a text file without those that are empty.

    Raises:
        DataError: for a file that is no text.
    """
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a list of images: {error}") from error
