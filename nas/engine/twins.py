"""Trials that compute the same function, of which only one is trained."""

from __future__ import annotations

from collections.abc import Sequence

from nas.search.records import Candidate, Trial

Function = tuple[str, int]
"""Fingerprint and channels: candidates that have both in common share one result."""


class Twins:
    """Knows which functions are in work and which have a result.

    Confirmations and controls are trained whatever else computes the same, and share nothing.

    Args:
        channels: of candidates without a width of their own.
        trials: of the journal so far.
    """

    def __init__(self, channels: int, trials: Sequence[Trial]) -> None:
        self._channels = channels
        self._running: dict[Function, int] = {}
        self._parked: dict[Function, list[int]] = {}
        self._done: dict[Function, Trial] = {}
        for trial in trials:
            self.finish(trial)

    @property
    def any_running(self) -> bool:
        """True if a candidate is in work."""
        return bool(self._running)

    def result(self, candidate: Candidate) -> Trial | None:
        """A finished trial of the same function."""
        return self._done.get(self._function(candidate))

    def parked(self, number: int, candidate: Candidate) -> bool:
        """True if the same function is in work: the trial waits for its result from now on."""
        function = self._function(candidate)
        if function not in self._running:
            return False
        self._parked.setdefault(function, []).append(number)
        return True

    def begin(self, number: int, candidate: Candidate) -> None:
        """A candidate is handed out."""
        self._running[self._function(candidate)] = number

    def finish(self, trial: Trial) -> None:
        """Remember a result that others may share."""
        if trial.state == "complete" and trial.copied_from is None and trial.candidate.is_candidate:
            self._done[self._function(trial.candidate)] = trial

    def released(self, candidate: Candidate) -> list[int]:
        """Trials that waited for the result of a candidate, which is no longer in work."""
        if not candidate.is_candidate:
            return []
        function = self._function(candidate)
        self._running.pop(function, None)
        return self._parked.pop(function, [])

    def _function(self, candidate: Candidate) -> Function:
        return candidate.genotype.fingerprint, candidate.channels or self._channels
