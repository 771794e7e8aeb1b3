"""What the command line shows as one line instead of a traceback."""

from __future__ import annotations


class UserError(ValueError):
    """Something that the user can mend; the message says what was wrong, what is allowed and what to do."""
