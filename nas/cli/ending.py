"""End of a command: one line and an exit status, whatever stopped it."""

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
"""Exit status of errors that users can fix; typer uses it for wrong options as well."""


class Commands(TyperGroup):
    """Command group that handles Ctrl-C and signals before typer, which would end all of them with one status."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise stopped() from None


def stopped() -> UserError:
    """Error of a command that was stopped and has nothing more specific to say."""
    return interruption.ended(
        f"stopped by {interruption.cause()}; finished work is kept: run the same command again to go on"
    )


@contextmanager
def ending() -> Iterator[None]:
    """Context that handles signals, and turns errors that users can fix into one line and exit status 2.

    The exit status of a signal is 128 plus its number: 130 for Ctrl-C, 143 for SIGTERM.
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
