"""Beginning and end of a journal file: whether it is a file, has a line, and what follows its last whole line."""

from __future__ import annotations

import stat
from pathlib import Path

from nas.runs.journal_lines import JournalError, parsed


def require_regular(path: Path) -> None:
    """
    Raises:
        JournalError: if it is a directory, a pipe or a device.
        OSError: if there is nothing, or it cannot be looked at.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise JournalError(f"{path} is not a file; put the journal back in its place")


def has_line(path: Path) -> bool:
    """True if a journal file has a whole line, the first thing that a search writes to it.

    Raises:
        JournalError, OSError: as `require_regular`.
    """
    require_regular(path)
    with path.open("rb") as file:
        return file.readline().endswith(b"\n")


_BEGINNING = b'{"op_code":'


def is_whole(line: bytes) -> bool:
    """True if a line is complete, its newline aside."""
    try:
        parsed(line)
    except ValueError:
        return False
    return True


def may_be_begun(tail: bytes) -> bool:
    """True if bytes may be the beginning of a line; a machine that died may have left zeros after it, or only zeros."""
    begun = tail.rstrip(b"\0")
    return begun.startswith(_BEGINNING) or _BEGINNING.startswith(begun)


def refuse_other_ends(path: Path, tail: bytes) -> None:
    """
    Raises:
        JournalError: if lines end in a carriage return alone, which makes all of them one.
    """
    if b"\r" in tail.rstrip():
        raise JournalError(
            f"{path} has line ends of another system (CR), so that an editor changed it; nothing was changed now: "
            "restore it from a copy, or write it with LF"
        )
