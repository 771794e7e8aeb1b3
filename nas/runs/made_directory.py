"""A directory that a command makes, and takes back if it is refused."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def made(path: Path, records: Collection[str]) -> Iterator[None]:
    """The directory is there within. If an error ends this, and it was not there before or was empty, then `records`
    are deleted, and so is the directory; unless other files are in it by then.

    Args:
        records: names of files that say nothing without results.

    Raises:
        OSError: if it cannot be made.
    """
    missing = [directory for directory in (path, *path.parents) if not directory.exists()]
    was_empty = bool(missing) or not any(path.iterdir())
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        if was_empty:
            with suppress(OSError):
                _take_back(path, records, missing)
        raise


def _take_back(path: Path, records: Collection[str], missing: Collection[Path]) -> None:
    entries = list(path.iterdir())
    if all(entry.name in records for entry in entries):
        for entry in entries:
            entry.unlink()
        for directory in missing:
            directory.rmdir()
