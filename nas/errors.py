"""Errors that the command line shows as one line instead of a traceback."""

from __future__ import annotations

from nas.text import MESSAGE_LIMIT, plain


class UserError(ValueError):
    """Something that the user can mend; the message says what was wrong, what is allowed and what to do."""


def first_line(error: BaseException) -> str:
    """Message of an error, in one plain line of bounded length; its class where it has none."""
    return plain((str(error).strip().splitlines() or [""])[0], MESSAGE_LIMIT) or type(error).__name__
