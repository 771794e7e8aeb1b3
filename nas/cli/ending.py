"""End of a command: one line and an exit status, for whatever stops it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from typer.core import TyperGroup

from nas import interruption
from nas.errors import UserError
from nas.terminal import SHOWN_LIMIT, shown
from search_space import GenotypeError
from search_space.files import FileError

USER_ERROR = 2
"""Exit status for what users can mend; typer's, too, for wrong options."""


class Commands(TyperGroup):
    """Takes Ctrl-C and signals before typer does, whose status is the same for all of them."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise stopped() from None


def stopped() -> UserError:
    """The error of a command that was stopped where nothing says more about it."""
    return interruption.ended(
        f"stopped by {interruption.cause()}; what was finished is kept: run the same command again to go on"
    )


@contextmanager
def ending() -> Iterator[None]:
    """Signals are listened to; what users can mend is one line on standard error and exit status 2.

    A signal's exit status is 128 and its number: 130 for Ctrl-C, 143 for SIGTERM.
    """
    with interruption.listening():
        try:
            yield
        except KeyboardInterrupt:
            _say(stopped())
        except (UserError, GenotypeError, FileError) as error:
            if os.environ.get("NASFPN_TRACEBACK"):
                raise
            _say(error)


def _say(error: Exception) -> None:
    if isinstance(error, interruption.StoppedError):
        typer.secho(shown(str(error), SHOWN_LIMIT), err=True)
        if interruption.came():  # all contexts are closed; threads of libraries may hold up the rest
            interruption.leave(error.status)
        sys.exit(error.status)
    typer.secho(shown(f"error: {error}", SHOWN_LIMIT), err=True, fg=typer.colors.RED)
    if isinstance(error, interruption.FatalError):
        interruption.leave(USER_ERROR)
    sys.exit(USER_ERROR)
