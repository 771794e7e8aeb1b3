"""The terminal of the commands, and the log: text is shown as it is, never as markup or as escape sequences."""

from __future__ import annotations

import logging
from typing import Any

from rich.console import Console
from rich.text import Text

from nas.credentials import scrubbed
from nas.text import plain

SHOWN_LIMIT = 10_000
"""Characters of what is printed as an error or logged: a configuration may have many problems, a traceback is long."""


def shown(text: str, limit: int | None = None) -> str:
    """Lines for people: without control characters, and without the credentials of URLs.

    Args:
        limit: see `nas.text.plain`.
    """
    return plain(scrubbed(text), limit, lines=True)


class Terminal(Console):
    """Console whose strings, the cells of tables among them, are shown as by `shown`, without markup and emoji codes.

    For style give it a `rich.text.Text`, with the parts that come from data as by `shown`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(shown(text), **options)


class PlainFormatter(logging.Formatter):
    """Log records as by `shown`, of bounded length."""

    def format(self, record: logging.LogRecord) -> str:
        return shown(super().format(record), SHOWN_LIMIT)


console = Terminal()
"""Standard output of all commands."""


def heading(title: str, rest: str = "") -> Text:
    """A line that begins with a title in bold."""
    return Text.assemble((shown(title), "bold"), shown(rest))


def log_to_standard_error() -> None:
    """Warnings of everything, and what this project says."""
    handler = logging.StreamHandler()
    handler.setFormatter(PlainFormatter("%(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("nas").setLevel(logging.INFO)
