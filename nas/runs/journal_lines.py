"""Lines of a journal file: operations of an Optuna study, each checked before Optuna replays it.

Optuna checks nothing: it passes over operations on trials that are not there, and fails somewhere inside on what is no
operation. A trial has no number in its line, so that a lost line would give the results of later trials to others.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import optuna
from optuna.storages.journal._storage import JournalOperation

from nas.errors import UserError

Result = TypeVar("Result")

LINE = "line"
"""Key of a line's own number in the file, 1 for the first, in what this project writes; Optuna passes over it."""

NOTES = (
    JournalOperation.SET_STUDY_USER_ATTR,
    JournalOperation.SET_STUDY_SYSTEM_ATTR,
    JournalOperation.SET_TRIAL_SYSTEM_ATTR,
)
"""Operations that change no result; Optuna's dashboard writes them for notes."""

_OF_ONE_TRIAL = (
    JournalOperation.SET_TRIAL_PARAM,
    JournalOperation.SET_TRIAL_STATE_VALUES,
    JournalOperation.SET_TRIAL_INTERMEDIATE_VALUE,
    JournalOperation.SET_TRIAL_USER_ATTR,
)
_FINISHED = (1, 2, 3)
"""Optuna's numbers of the states complete, pruned and failed."""


class JournalError(UserError):
    """A journal that cannot be read or written."""


class _LineError(ValueError):
    """Fault of a line."""


class Lines:
    """Checks the lines of one journal file, from the first on.

    Args:
        path: for messages.

    Attributes:
        number: of the line that was read last, 1 for the first.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.begin()

    def begin(self) -> None:
        """Read from the first line on."""
        self.number = 0
        self._has_study = False
        self._finished: list[bool] = []

    def read(self, line: bytes) -> dict[str, Any]:
        """The operation in the next line.

        Raises:
            JournalError: if it is none, or does not follow on the lines before it.
        """
        self.number += 1
        try:
            operation = parsed(line)
            self._check(operation)
        except _LineError as error:
            raise self.error(str(error)) from error
        return operation

    def error(self, reason: str) -> JournalError:
        """That the line which was read last is wrong."""
        return JournalError(
            f"{self.path}, line {self.number}: {reason}; the file was damaged or changed by another program: "
            "restore it from a copy, or mend that line"
        )

    def _check(self, operation: dict[str, Any]) -> None:
        code = _whole(operation, "op_code")
        if code not in list(JournalOperation):
            raise _LineError(f"operation {code} is unknown to Optuna {optuna.__version__}; a newer Optuna wrote it")
        written_as = operation.get(LINE, self.number)
        if written_as != self.number:
            raise _LineError(f"it was written as line {written_as!r}, so that lines before it were lost or moved")
        if code == JournalOperation.CREATE_STUDY:
            if self._has_study:
                raise _LineError("it begins a second study")
            self._has_study = True
            return
        if not self._has_study:
            raise _LineError("the line that begins the study is not before it, so that the beginning is missing")
        if code == JournalOperation.DELETE_STUDY:
            raise _LineError("it deletes the study")
        self._check_trial(code, operation)

    def _check_trial(self, code: int, operation: dict[str, Any]) -> None:
        if code == JournalOperation.CREATE_TRIAL:
            if _whole(operation, "study_id") != 0:
                raise _LineError("its study is not in the file")
            self._finished.append(operation.get("state") in _FINISHED)
        if code not in _OF_ONE_TRIAL:
            return
        trial = _whole(operation, "trial_id")
        if not 0 <= trial < len(self._finished):
            raise _LineError(f"trial {trial} was not begun before it, so that a line was lost or moved")
        if self._finished[trial]:
            raise _LineError(f"trial {trial} was finished before it, so that a line was moved or two searches wrote")
        if code == JournalOperation.SET_TRIAL_STATE_VALUES:
            self._finished[trial] = operation.get("state") in _FINISHED


def parsed(line: bytes) -> dict[str, Any]:
    """A line as a JSON object.

    Raises:
        ValueError: if it is none, with the reason.
    """
    try:
        value = json.loads(line.decode())
        if rb"\ud" in line.lower():
            json.dumps(value, ensure_ascii=False).encode()  # half a character, which no file takes
    except UnicodeDecodeError as error:
        raise _LineError(f"it is not UTF-8 ({error.reason} at byte {error.start})") from error
    except UnicodeEncodeError as error:
        raise _LineError("it has half a character (a lone surrogate)") from error
    except json.JSONDecodeError as error:
        raise _LineError(f"it is not JSON ({error.msg} at character {error.pos})") from error
    except (ValueError, RecursionError) as error:
        raise _LineError(f"it is not JSON that can be read ({error})") from error
    if not isinstance(value, dict):
        raise _LineError(f"it is {line[:20].decode(errors='replace').strip()!r}, not a JSON object")
    return value


def is_note(line: bytes) -> bool:
    """True if a line changes no result."""
    try:
        return parsed(line).get("op_code") in NOTES
    except ValueError:
        return False


def replayed(lines: Lines, operation: Callable[[], Result]) -> Result:
    """Call an operation in which Optuna replays what `lines` reads, and return its result.

    Raises:
        JournalError: if Optuna cannot, with the line.
    """
    try:
        return operation()
    except (OSError, UserError):
        raise
    except Exception as error:  # Optuna replays lines unchecked, so that any error means one that it cannot read
        raise lines.error(f"Optuna cannot read it ({type(error).__name__}: {error})") from error


def _whole(operation: dict[str, Any], name: str) -> int:
    value = operation.get(name)
    if type(value) is not int:
        raise _LineError(f"its {name} is {value!r}, not a whole number")
    return value
