"""Names and other text from data, as parts of Markdown that mean themselves."""

from __future__ import annotations

import html
import re

from nas.credentials import scrubbed
from nas.text import MESSAGE_LIMIT, plain

_MARKS = re.compile(r"[\\`*\[\]#~^$!]|(?<!\w)_|_(?!\w)")
"""Characters that begin or end markup within a line; an underscore between letters does not."""


def escaped(text: str) -> str:
    """One line of text. HTML in it is text as well: hubs that show a model card render it."""
    return html.escape(_MARKS.sub(r"\\\g<0>", _line(text)), quote=False)


def code(text: str) -> str:
    """A code span; its fence is longer than any in the text."""
    text = _line(text)
    longest = max(map(len, re.findall("`+", text)), default=0)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{'`' * (longest + 1)}{space}{text}{space}{'`' * (longest + 1)}"


def table_row(*cells: str) -> str:
    """A line of a table, of cells that are Markdown."""
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _line(text: str) -> str:
    return plain(scrubbed(text), MESSAGE_LIMIT)
