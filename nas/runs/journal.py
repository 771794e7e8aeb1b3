"""The durable record of a search: an Optuna study, one trial per candidate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any
from uuid import uuid4

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from controllers.records import State
from nas.runs.journal_lines import JournalError
from nas.runs.recorded import STATES, check_together, ended_at, read_trial
from nas.runs.run_directory import RunDirectory
from nas.runs.storage import Connection
from nas.search.records import Candidate, Trial
from nas.terminal import shown
from nas.text import MESSAGE_LIMIT
from search_space import Choice

STUDY = "search"
OWNER = "owner"
"""Attribute of a study in a database: the one process that writes to it, made anew by every start of a search."""
_TRIAL_STATES = {name: state for state, name in STATES.items()}


class Journal:
    """All candidates of one search. One process writes, any number may read.

    Args:
        place: an Optuna journal file, or the URL of a database that Optuna takes (`sqlite:///FILE`,
            `postgresql+psycopg://HOST/DATABASE`); `optuna-dashboard PLACE` opens either as it stands.
        study: its name there.
        writable: the writer makes what is missing and removes what a killed writer left in a file: half a line, and a
            stale lock. Only the process that has claimed the run directory may write.
        begun: what shows that the search has been begun, so that the study must be there.

    Raises:
        JournalError: if there is none, it is damaged, or a database cannot be reached.
    """

    def __init__(
        self, place: Path | str, *, study: str = STUDY, writable: bool = False, begun: Sequence[str] = ()
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._connection = Connection(place, writable=writable)
        self._storage = self._connection.storage
        must_exist = not writable or bool(begun) or self._connection.is_begun
        self._study_id = self._find(study, begun) if must_exist else self._make(study)
        self._owner = self._take_over() if writable and self._connection.is_shared else None
        self._writable = writable
        self._stored = self._read_all()
        self._trials = [read_trial(trial, self._connection.name) for trial in self._stored]
        check_together(self._trials, self._connection.name)
        self._num_finished = sum(trial.state != "running" for trial in self._trials)

    @property
    def storage(self) -> BaseStorage:
        """Optuna's storage behind it, for programs that show studies."""
        return self._storage

    @property
    def num_finished(self) -> int:
        """Trials that are no longer running."""
        return self._num_finished

    def together(self) -> AbstractContextManager[None]:
        """Within, what is recorded in a file is durable at the end only, with one write for all of it."""
        return self._connection.together()

    def add(self, candidate: Candidate, *, space_choices: Mapping[str, tuple[Choice, ...]]) -> int:
        """Record a candidate as running; returns its number.

        Args:
            space_choices: the fixed choices of the space's decisions, those that the candidate lacks among them.
        """
        attributes = {
            "origin": candidate.origin,
            "genotype": candidate.genotype.to_dict(),
            "fingerprint": candidate.genotype.fingerprint,
            "proposal": candidate.proposal,
            **({"info": dict(candidate.info)} if candidate.info else {}),
            **({} if candidate.parent is None else {"parent": candidate.parent}),
            **({} if candidate.channels is None else {"channels": candidate.channels}),
        }
        distributions: dict[str, BaseDistribution] = {
            name: CategoricalDistribution(space_choices[name]) for name in candidate.choices
        }
        trial = optuna.create_trial(
            state=TrialState.RUNNING, params=dict(candidate.choices), distributions=distributions, user_attrs=attributes
        )
        number = len(self._trials)
        self._require_ours()
        trial._trial_id, trial.number = self._connection.do(lambda: self._create(trial, number)), number
        self._stored.append(trial)
        self._trials.append(read_trial(trial, self._connection.name))
        return number

    def finish(
        self,
        number: int,
        state: State,
        reward: float | None,
        metrics: Mapping[str, Any],
        *,
        error: str | None = None,
        copied_from: int | None = None,
        rejected: Sequence[str] = (),
    ) -> Trial:
        """Record the outcome of a running trial, and return it; durable when this returns."""
        error = None if error is None else shown(error, MESSAGE_LIMIT)
        outcome: dict[str, Any] = {
            "metrics": dict(metrics),
            "error": error,
            "copied_from": copied_from,
            "order": self._num_finished,
        }
        if rejected:
            outcome["rejected"] = list(rejected)
        trial_id = self._stored[number]._trial_id
        self._require_ours()
        self._connection.do(lambda: self._write_outcome(trial_id, state, reward, outcome))
        stored = self._connection.do(lambda: self._storage.get_trial(trial_id))
        finished = replace(
            self._trials[number],
            state=state,
            reward=reward,
            metrics=outcome["metrics"],
            error=error,
            copied_from=copied_from,
            order=outcome["order"],
            rejected=tuple(rejected),
            ended=ended_at(stored),
        )
        self._trials[number] = finished
        self._num_finished += 1
        return finished

    def trials(self) -> list[Trial]:
        """Every trial by number; a reader sees what was written up to now."""
        if not self._writable:
            self._stored = self._read_all()
            self._trials = [
                old if old is not None and old.state != "running" else read_trial(trial, self._connection.name)
                for trial, old in zip_longest(self._stored, self._trials[: len(self._stored)])
            ]
            check_together(self._trials, self._connection.name)
        return list(self._trials)

    def _find(self, study: str, begun: Sequence[str]) -> int:
        def find() -> int | None:
            try:
                return int(self._storage.get_study_id_from_name(study))
            except KeyError:
                return None

        if (found := self._connection.read(find)) is not None:
            return found
        why = f" (there are {', '.join(begun)})" if begun else ""
        raise JournalError(
            f"{self._connection.name} has no study {study!r}, so that the journal of the search is lost{why}: "
            "restore it from a copy, or use another --run-dir"
        )

    def _make(self, study: str) -> int:
        create = partial(optuna.create_study, direction="maximize", load_if_exists=True)
        return self._connection.do(lambda: create(study_name=study, storage=self._storage)._study_id)

    def _take_over(self) -> str:
        """Tell a search that writes to the same study, from a copy of the run directory say, that it no longer may."""
        owner = uuid4().hex
        self._connection.do(lambda: self._storage.set_study_user_attr(self._study_id, OWNER, owner))
        return owner

    def _require_ours(self) -> None:
        """
        Raises:
            JournalError: if another search writes to the study of a database.
        """
        if self._owner is None:
            return
        found = self._connection.do(lambda: self._storage.get_study_user_attrs(self._study_id).get(OWNER))
        if found != self._owner:
            raise JournalError(
                f"another search has taken over the study of this one in {self._connection.name}, so that this one was "
                "stopped; two run directories of the same study, copies of each other, cannot be used at the same time"
            )

    def require_intact(self) -> None:
        """Check that all that was recorded is still there.

        Raises:
            JournalError: if the file was deleted, renamed, replaced or written to by another program.
        """
        self._connection.require_intact()

    def _read_all(self) -> list[FrozenTrial]:
        return self._connection.read(lambda: list(self._storage.get_all_trials(self._study_id, deepcopy=False)))

    def _create(self, trial: FrozenTrial, number: int) -> int:
        """Tried again after a lost connection, it may find the trial written already."""
        there = self._storage.get_all_trials(self._study_id, deepcopy=False) if self._connection.retrying else []
        if len(there) > number:
            return there[number]._trial_id
        return self._storage.create_new_trial(self._study_id, template_trial=trial)

    def _write_outcome(self, trial_id: int, state: State, reward: float | None, outcome: dict[str, Any]) -> None:
        if self._connection.retrying and self._storage.get_trial(trial_id).state.is_finished():
            return
        self._storage.set_trial_user_attr(trial_id, "outcome", outcome)
        if state == "stopped":
            assert reward is not None
            self._storage.set_trial_intermediate_value(trial_id, 0, reward)
        values = None if reward is None or state != "complete" else [reward]
        self._storage.set_trial_state_values(trial_id, _TRIAL_STATES[state], values)


def open_journal(run: RunDirectory, *, writable: bool = False) -> Journal:
    """The journal of a run directory, wherever its configuration says that it is.

    Raises:
        JournalError: see `Journal`.
        RunDirectoryError: if the configuration cannot be read.
    """
    url = run.read_config().storage
    begun = run.results() if writable else ()
    if url is None:
        return Journal(run.journal_file, writable=writable, begun=begun)
    return Journal(url, study=run.study(), writable=writable, begun=begun)
