"""Optuna's trials as records of a search, each checked: another program may have written to the same study."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from nas.runs.journal_lines import JournalError
from nas.search.records import CONFIRM_PREFIX, CONTROL_PREFIX, Candidate, Trial, is_number
from nas.terminal import shown
from nas.text import MESSAGE_LIMIT
from search_space import MAX_CHANNELS, Genotype

STATES: dict[TrialState, str] = {
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "stopped",
    TrialState.FAIL: "failed",
}


_REPEATS = re.compile(rf"{CONFIRM_PREFIX}[0-9]+|{CONTROL_PREFIX}[0-9]+:[1-9][0-9]*")
"""Origins of trials that train the neck of another."""

SHOWN = 60
"""Characters of a wrong value in a message, which is one line."""


class _FieldError(ValueError):
    """Fault of a trial."""


def read_trial(trial: FrozenTrial, journal: str) -> Trial:
    """
    Args:
        journal: its name, for messages.

    Raises:
        JournalError: if the trial is none of a search, with the reason.
    """
    try:
        return _read(trial)
    except ValueError as error:
        raise JournalError(
            f"{journal}: trial {trial.number} is none of this search: {error}; the journal was damaged or changed by "
            "another program: restore it from a copy"
        ) from error


def check_together(trials: Sequence[Trial], journal: str) -> None:
    """Check that trials are all those of one search.

    Raises:
        JournalError: if some are missing, or those of two searches are mixed.
    """
    if (problem := _problem(trials)) is not None:
        raise JournalError(
            f"{journal}: {problem}; trials were lost or moved, or two searches wrote to it: restore it from a copy"
        )


def _message(outcome: Mapping[str, Any]) -> str | None:
    """The reason of a failure, bounded: an older journal may have one of megabytes."""
    error = _field(outcome, "error", str, None)
    return None if error is None else shown(error, MESSAGE_LIMIT)


def _problem(trials: Sequence[Trial]) -> str | None:
    proposed: Counter[str] = Counter()
    for trial in trials:
        candidate = trial.candidate
        if candidate.is_limited:
            if candidate.proposal != (wanted := proposed[candidate.origin]):
                return f"trial {trial.number} is proposal {candidate.proposal} of {candidate.origin}, not {wanted}"
            proposed[candidate.origin] += 1
        elif (again := _repeated(candidate)) is not None and not (
            again < trial.number and _neck(trials[again].candidate) == _neck(candidate)
        ):
            return f"trial {trial.number} is a {candidate.kind} of trial {again}, which has another neck"
        source = trial.copied_from
        if source is not None and not (0 <= source < len(trials) and trials[source].state == trial.state):
            return f"trial {trial.number} has the result of trial {source}, which has none"
    orders = [trial.order for trial in trials if trial.order is not None]
    if sorted(orders) != list(range(len(orders))):
        wrong = next(order for order, count in Counter(orders).items() if count > 1 or not 0 <= order < len(orders))
        return f"{len(orders)} trials are finished, and one of them as number {wrong}, not once each"
    return None


def _repeated(candidate: Candidate) -> int | None:
    """Number of the trial whose neck is trained once more."""
    return candidate.controls[0] if candidate.controls is not None else candidate.confirms


def _neck(candidate: Candidate) -> tuple[Genotype, int | None]:
    return candidate.genotype, candidate.channels


def _read(trial: FrozenTrial) -> Trial:
    attributes = trial.user_attrs
    if trial.state not in STATES:
        raise _FieldError(f"its state is {trial.state.name.lower()}")
    proposal = _field(attributes, "proposal", int, None)
    origin = _field(attributes, "origin", str)
    if origin.startswith((CONFIRM_PREFIX, CONTROL_PREFIX)) and not _REPEATS.fullmatch(origin):
        raise _FieldError(f"its origin is {_shown(origin)}")
    outcome: dict[str, Any] = _field(attributes, "outcome", dict) if trial.state.is_finished() else {}
    candidate = Candidate(
        origin=origin,
        genotype=Genotype.from_dict(_field(attributes, "genotype", dict)),
        proposal=proposal,
        choices=trial.params,
        info=_numbers(_field(attributes, "info", dict, {}), "info"),
        parent=_field(attributes, "parent", int, None),
        channels=_channels(attributes),
    )
    if proposal is None and candidate.is_limited:
        raise _FieldError(f"its origin is {candidate.origin!r}, and it has no proposal")
    if candidate.parent is not None and not (proposal is not None and 0 <= candidate.parent < proposal):
        raise _FieldError(f"its parent is {candidate.parent}, which is no earlier proposal")
    return Trial(
        number=trial.number,
        candidate=candidate,
        state=STATES[trial.state],
        reward=_reward(trial),
        metrics=_numbers(_field(outcome, "metrics", dict, {}), "metrics", allow_none=True),
        error=_message(outcome),
        copied_from=_field(outcome, "copied_from", int, None),
        order=_field(outcome, "order", int, None),
        rejected=_texts(_field(outcome, "rejected", list, [])),
        ended=ended_at(trial),
    )


def ended_at(trial: FrozenTrial) -> float | None:
    """When a stored trial finished, in seconds since 1970; None while it runs."""
    return None if trial.datetime_complete is None else trial.datetime_complete.timestamp()


_MISSING = object()


def _field(record: Mapping[str, Any], name: str, kind: type, default: Any = _MISSING) -> Any:
    """One value of a record; None where that is the default."""
    value = record.get(name, default)
    if value is _MISSING:
        raise _FieldError(f"it has no {name}")
    if value is not default and type(value) is not kind:
        raise _FieldError(f"its {name} is {_shown(value)}")
    return value


def _channels(attributes: Mapping[str, Any]) -> int | None:
    channels: int | None = _field(attributes, "channels", int, None)
    if channels is not None and not 1 <= channels <= MAX_CHANNELS:
        raise _FieldError(f"its neck has {channels} channels")
    return channels


def _reward(trial: FrozenTrial) -> float | None:
    """Of a complete trial its value, of a stopped one what it had at the rung."""
    if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED):
        return None
    stopped = trial.state == TrialState.PRUNED
    values: Any = [trial.intermediate_values.get(0)] if stopped else trial.values
    if not isinstance(values, list) or len(values) != 1 or not (is_number(values[0]) and math.isfinite(values[0])):
        raise _FieldError(f"its reward is {_shown(values)}")
    return float(values[0])


def _numbers(record: dict[str, Any], name: str, *, allow_none: bool = False) -> dict[str, Any]:
    for key, value in record.items():
        if not (is_number(value) or (allow_none and value is None)):
            raise _FieldError(f"its {name} have {key} = {_shown(value)}")
    return record


def _texts(values: Iterable[Any]) -> tuple[str, ...]:
    if wrong := [value for value in values if not isinstance(value, str)]:
        raise _FieldError(f"it was rejected by {_shown(wrong[0])}")
    return tuple(values)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
