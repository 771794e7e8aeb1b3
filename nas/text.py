"""Text that comes from data, made safe to show and to keep: without control characters, and of bounded length."""

from __future__ import annotations

import re

MESSAGE_LIMIT = 2000
"""Characters of an error message that are kept: enough for a message with its context, and a screenful at most."""

NAME_LIMIT = 80
"""Characters of a name in a table or a picture: what fits beside the numbers."""

_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*+[ -/]*+[@-~]"  # CSI: colours, movements
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*+(?:\x07|\x1b\\|\x9c)"  # OSC, such as links and titles; DCS
    r"|\x1b[ -/]*+[0-~]"
)
"""Escape sequences of terminals (ECMA-48)."""

_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufffe\uffff]"
)
"""Control characters, those that turn the direction of writing, and two that XML does not allow."""

_SURROGATES = re.compile("[\ud800-\udfff]")
"""Bytes of a file's name that are no UTF-8, as Python holds them; nothing can encode them."""

_BREAKS = re.compile("\r\n|[\n\x0b\x0c\r\x85\u2028\u2029]")


def plain(text: str, limit: int | None = None, *, lines: bool = False) -> str:
    """The text without escape sequences, control characters and marks that turn the direction of writing.

    Args:
        limit: characters of the result; what is longer loses its middle, and says how much.
        lines: keep line breaks, as `\\n`; else the result is one line.
    """
    text = _SURROGATES.sub("\ufffd", _INVISIBLE.sub("", _SEQUENCES.sub("", text)))
    text = _BREAKS.sub("\n", text) if lines else " ".join(text.split())
    return text if limit is None else _bounded(text, limit)


def label_text(name: str) -> str:
    """A name for a picture of matplotlib: plain and short, with dollar signs that begin no formula."""
    return plain(name, NAME_LIMIT).replace("$", r"\$")


def _bounded(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    room = limit - len(_mark(len(text)))
    head, tail = text[: room - room // 4].rstrip(), text[len(text) - room // 4 :].lstrip()
    return head + _mark(len(text) - len(head) - len(tail)) + tail


def _mark(count: int) -> str:
    return f" … ({count} more characters) … "
