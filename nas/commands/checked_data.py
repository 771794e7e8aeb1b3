"""Data that a command relies on: checked in full, once for each version of it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from nas.data.config import DataConfig, DataError
from nas.data.problems import Problem
from nas.terminal import console


def require_good_data(data: DataConfig, check: str) -> None:
    """Print the problems of a data set.

    Args:
        check: the command that checks this data set, for the message.

    Raises:
        DataError: if there are errors.
    """
    refuse_bad_data(data, find_problems(data, anew=False), check)


def refuse_bad_data(data: DataConfig, problems: Sequence[Problem], check: str) -> None:
    """As `require_good_data`, for problems that were found."""
    for problem in problems:
        console.print(str(problem), soft_wrap=True)
    errors = sum(problem.severity == "error" for problem in problems)
    if errors:
        raise DataError(f"{data.root} has errors ({errors}, above); fix them, then run: {check}")


def find_problems(data: DataConfig, *, anew: bool) -> list[Problem]:
    """All problems of a data set, its images opened; with a bar on a terminal.

    Args:
        anew: as of `check_data`.
    """
    from nas.data.check import check_data

    bar = Progress(
        TextColumn("opening images"),
        BarColumn(),
        MofNCompleteColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task("images", total=None)
        return check_data(data, True, lambda done, every: bar.update(task, completed=done, total=every), anew=anew)


def check_command(target: str, assignments: Sequence[str] = ()) -> str:
    """The command that checks the data of an experiment or a run.

    Args:
        target: as the user gave it.
        assignments: `--set` of the whole configuration; those of its data are kept.
    """
    of_data = [each.strip().removeprefix("data.") for each in assignments if each.strip().startswith("data.")]
    return shlex.join(["nasfpn", "data", "check", target, *(part for each in of_data for part in ("--set", each))])
