"""Copies and directories beside a file, for what would be lost otherwise; none ever takes the place of another."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

CUT, RESCUED, UNKNOWN = "cut", "rescued", "unknown"
"""Endings: what was cut off the end of a journal, all of a journal that was lost, weights that no journal speaks of."""


def save_beside(path: Path, ending: str, content: bytes) -> Path:
    """Write a new file `NAME.ENDING-1`, or -2, ...; durable when this returns."""
    copy = _free_name(path, ending)
    try:
        with copy.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise
    except OSError:
        copy.unlink(missing_ok=True)
        raise
    return copy


def new_beside(path: Path, ending: str) -> Path:
    """Make a new directory `NAME.ENDING-1`, or -2, ..."""
    directory = _free_name(path, ending)
    directory.mkdir()
    return directory


def _free_name(path: Path, ending: str) -> Path:
    names = (path.with_name(f"{path.name}.{ending}-{number}") for number in count(1))
    return next(name for name in names if not os.path.lexists(name))


def copies_of(path: Path) -> list[Path]:
    """Those of a journal that are there."""
    return sorted(copy for ending in (CUT, RESCUED) for copy in path.parent.glob(f"{path.name}.{ending}-*"))
