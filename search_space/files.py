"""Files that others wrote: plain files only, read whole, with one line for whatever is wrong with them.

Every reader takes the class of the error that it raises, so that each part of the project keeps its own.
"""

from __future__ import annotations

import codecs
import json
import math
import stat
from pathlib import Path
from typing import Any

MAX_RECORD_BYTES = 2**24
"""Largest record, such as a genotype or a configuration: those that this project writes have some kilobytes."""
MAX_DEPTH = 64
"""Objects and lists inside each other; the records of this project have up to eight."""
MAX_DIGITS = 20
"""Most digits of a whole number: those of 64 bits have 20 at most, with their sign."""

_MARKS = (
    (codecs.BOM_UTF8, "UTF-8 with a byte order mark"),
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
"""Byte order marks of other encodings; UTF-32 before UTF-16, which begins alike."""


class FileError(ValueError):
    """A file that cannot be used; the message names it, what is wrong with it and what to do."""


def is_there(path: str | Path) -> bool:
    """True if anything lies at a path; False for a path that no file can have or that may not be looked at."""
    try:
        Path(path).stat()
    except (OSError, ValueError):
        return False
    return True


def read_bytes(path: str | Path, error: type[ValueError] = FileError, limit: int | None = None) -> bytes:
    """The content of a plain file, which may be behind a link.

    Args:
        error: class of the error to raise.
        limit: largest size in bytes; None for any.

    Raises:
        ValueError: of class `error`, if it is missing, no plain file (a pipe would never end), unreadable or larger.
    """
    size = plain_size(path, error)
    if limit is not None and size > limit:
        raise error(f"{path} has {size:,} bytes, but at most {limit:,} are read; is it the right file?")
    try:
        return Path(path).read_bytes()
    except OSError as caught:
        raise _unreadable(path, caught, error) from caught
    except MemoryError as caught:
        raise error(f"{path} cannot be read: there is not enough memory for its {size:,} bytes") from caught


def plain_size(path: str | Path, error: type[ValueError] = FileError) -> int:
    """Bytes of a plain file.

    Raises:
        ValueError: of class `error`, if it is missing or no plain file, without opening it.
    """
    try:
        status = Path(path).stat()
    except (OSError, ValueError) as caught:
        raise _unreadable(path, caught, error) from caught
    if not stat.S_ISREG(status.st_mode):
        what = "a directory" if stat.S_ISDIR(status.st_mode) else "a pipe, a socket or a device"
        raise error(f"{path} cannot be read: it is {what}, not a plain file; put the file itself there")
    return status.st_size


def _unreadable(path: str | Path, caught: Exception, error: type[ValueError]) -> ValueError:
    reason = getattr(caught, "strerror", None) or caught
    return error(f"{path} cannot be read: {reason}; put a readable file there")


def read_json(path: str | Path, error: type[ValueError] = FileError) -> dict[str, Any]:
    """The object in a small JSON file, such as a genotype or a configuration.

    Raises:
        ValueError: of class `error`, as `read_bytes` and `parse_json` say, and for anything but an object.
    """
    return parse_record(read_bytes(path, error, MAX_RECORD_BYTES), str(path), error)


def parse_record(raw: bytes, name: str, error: type[ValueError] = FileError) -> dict[str, Any]:
    """The object in JSON text that this project wrote.

    Args:
        name: of the file, for the message.

    Raises:
        ValueError: of class `error`, as `parse_json` says, and for anything but an object of finite numbers and whole
            text, with every field once and a few levels.
    """
    content = parse_json(raw, name, error, object_pairs_hook=_once)
    if (fault := _unusual(content)) is not None:
        raise error(f"{name} holds {fault}; it is damaged or was not written by this project: copy it again")
    if not isinstance(content, dict):
        raise error(f"{name} must hold a JSON object, but holds {_kind(content)}; copy it again")
    return content


def parse_json(raw: bytes, name: str, error: type[ValueError] = FileError, **hooks: Any) -> Any:
    """Parse JSON text in UTF-8; numbers may be NaN or infinite.

    Args:
        name: of the file, for the message.
        hooks: as of `json.loads`; they may raise ValueError.

    Raises:
        ValueError: of class `error`, for text that is no JSON, in another encoding, too deep, or with numbers that no
            64 bits hold.
    """
    text = _text(raw, name, error)
    try:
        return json.loads(text, parse_int=_whole_number, **hooks)
    except RecursionError as caught:
        raise error(f"{name} has too many lists or objects inside each other; copy it again") from caught
    except ValueError as caught:
        raise error(f"{name} is not valid JSON ({caught}); it may have been cut off: copy it again") from caught


def _text(raw: bytes, name: str, error: type[ValueError]) -> str:
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            raise error(f"{name} is text in {encoding}; save it as UTF-8 without a byte order mark")
    try:
        return raw.decode()
    except UnicodeDecodeError as caught:
        raise error(
            f"{name} is not UTF-8 text (byte {caught.start} is 0x{raw[caught.start]:02x}); save it as UTF-8, or copy "
            "it again"
        ) from caught


def _whole_number(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a whole number of {len(digits)} digits, where at most {MAX_DIGITS} are plausible")
    return int(digits)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has a field twice")
    return found


def _unusual(content: Any) -> str | None:
    """First thing in it that no record of this project has (odd numbers or text, deep nesting), or None."""
    todo = [(content, 1)]
    while todo:
        value, depth = todo.pop()
        if isinstance(value, float) and not math.isfinite(value):
            return "a number that is not finite"
        if isinstance(value, str) and not is_text(value):
            return f"half a character ({value!a:.40})"
        if isinstance(value, dict | list):
            if depth > MAX_DEPTH:
                return f"more than {MAX_DEPTH} lists and objects inside each other"
            todo += [(entry, depth + 1) for entry in (value if isinstance(value, list) else (*value, *value.values()))]
    return None


def is_text(value: str) -> bool:
    """True if a string can be written: JSON can hold halves of characters (`\\ud83d`), which no encoding has."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind(content: Any) -> str:
    if content is None:
        return "null"
    return {list: "a list", str: "a text", bool: "true or false"}.get(type(content), "a number")
