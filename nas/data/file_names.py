"""Paths of the images of an annotation file."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

from search_space.files import is_there


class OutsideError(ValueError):
    """A file name that leaves the image folder; the message says why it is refused and what to do."""


def image_file(folder: Path, name: str, *, allow_outside: bool = False) -> Path:
    """The path of an image.

    Names with backslashes, as written on Windows, are taken as they stand where there is such a file, else with
    slashes. Where there is no file of a name, its accents count in either of Unicode's forms, one sign or two: systems
    and tools write both. A name may go up and come back. Links are followed: whoever owns the folder has put them
    there, and of what they lead to nothing but an image's pixels is used.

    Args:
        folder: that file names are relative to.
        name: `file_name` of the annotation file.
        allow_outside: whether absolute names, and those that lead out of the folder, are taken too.

    Raises:
        OutsideError: for such a name where they are not allowed.
    """
    if "\\" in name and not is_there(folder / name):
        name = name.replace("\\", "/")
    if allow_outside or not (name.startswith("/") or ".." in name):
        return _on_disk(folder / name)
    path = Path(os.path.normpath(folder / name))
    if name.startswith("/") or not _is_inside(path, folder):
        raise OutsideError(
            f"has the file name {name!r:.200}, which is not inside the image folder {folder}; correct it, or where the "
            "annotations are trusted set data.allow_outside=true (nasfpn evaluate: --allow-outside)"
        )
    return _on_disk(path)


def _on_disk(path: Path) -> Path:
    """A path with each part in the Unicode form in which it is there; as it is where none is."""
    if str(path).isascii() or is_there(path):
        return path
    found = Path(path.anchor)
    for part in path.parts[bool(path.anchor) :]:
        forms = [found / form for form in (part, *(unicodedata.normalize(form, part) for form in ("NFC", "NFD")))]
        found = next((form for form in forms if is_there(form)), forms[0])
    return found


def _is_inside(path: Path, folder: Path) -> bool:
    """By their names alone: links count as what they are called."""
    return Path(os.path.abspath(path)).is_relative_to(os.path.abspath(folder))  # noqa: PTH100 (resolve follows links)
