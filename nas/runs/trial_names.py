"""Trials by name: `RUN_DIR:NUMBER`, wherever a command takes a trial."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nas.credentials import without_credentials
from nas.errors import UserError
from nas.runs.remote.files import is_url
from nas.runs.remote.staging import CONFIG
from nas.search.records import Trial
from search_space.files import is_there


def split_name(name: str) -> tuple[str, int | None]:
    """The directory or URL of a search, and the trial's number; None for a name without a number."""
    place, _, number = name.rpartition(":")
    if not number.isdecimal() or _holds_search(name) or not (is_url(place) or _holds_search(place)):
        return name, None
    return place, int(number)


def named_trial(name: str, number: int | None) -> tuple[str, int | None]:
    """Directory or URL of a search and the number of a trial, which may be given in the name or beside it.

    Raises:
        UserError: if it is given twice, and differs.
    """
    place, named = split_name(name)
    if None not in (named, number) and named != number:
        raise UserError(f"{without_credentials(name)} names trial {named}, not {number}; name one trial")
    return place, number if named is None else named


def chosen_trial(trials: Sequence[Trial], number: int, place: str) -> Trial:
    """The trial of a number.

    Args:
        place: of the search, for the message.

    Raises:
        UserError: if there is no trial of that number.
    """
    if not 0 <= number < len(trials):
        raise UserError(f"there is no trial {number}; {without_credentials(place)} has trials 0..{len(trials) - 1}")
    return trials[number]


def _holds_search(place: str) -> bool:
    return is_there(Path(place) / CONFIG)
