"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def atomic_write(path: Path, content: str | bytes) -> None:
    """Write a file, in the place of an older one if there is one; whole and durable when this returns.

    What a crash leaves ends in `.partial`. Text is written as UTF-8.

    Raises:
        OSError: if it cannot be written; an older file is still there then.
    """
    partial = path.with_suffix(".partial")
    try:
        with partial.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        with suppress(OSError):
            partial.unlink()
        raise
