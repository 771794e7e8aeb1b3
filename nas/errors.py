"""What the command line shows as one line instead of a traceback."""

from __future__ import annotations


class UserError(ValueError):
    """Something that the user can mend; the message says what was wrong, what is allowed and what to do."""


def first_line(error: BaseException) -> str:
    """What an error says, in one line; its class where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
