"""The durable record of a search: an Optuna study, one trial per candidate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from controllers.records import State
from nas.search.records import Candidate, Trial
from nas.search.run_directory import RunDirectory
from nas.search.storage import Connection
from nas.terminal import shown
from nas.text import MESSAGE_LIMIT
from search_space import Choice, Genotype

STUDY = "search"
_STATES: dict[TrialState, str] = {
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "stopped",
    TrialState.FAIL: "failed",
}
_TRIAL_STATES = {name: state for state, name in _STATES.items()}


class Journal:
    """All candidates of one search. One process writes, any number may read.

    Args:
        place: an Optuna journal file, or the URL of a database that Optuna takes (`sqlite:///FILE`,
            `postgresql+psycopg://HOST/DATABASE`); `optuna-dashboard PLACE` opens either as it stands.
        study: its name there.
        writable: the writer makes what is missing and removes what a killed writer left in a file: half a line, and a
            stale lock. Only the process that has claimed the run directory may write.

    Raises:
        JournalError: if there is none, it cannot be read, or a database cannot be reached.
    """

    def __init__(self, place: Path | str, *, study: str = STUDY, writable: bool = False) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._connection = Connection(place, writable=writable)
        self._storage = self._connection.storage
        if writable:
            create = partial(optuna.create_study, direction="maximize", load_if_exists=True)
            self._study_id = self._connection.do(lambda: create(study_name=study, storage=self._storage)._study_id)
        else:
            self._study_id = self._connection.do(lambda: self._storage.get_study_id_from_name(study))
        self._writable = writable
        self._stored = self._read_all()
        self._trials = [_read(trial) for trial in self._stored]
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
        }
        distributions: dict[str, BaseDistribution] = {
            name: CategoricalDistribution(space_choices[name]) for name in candidate.choices
        }
        trial = optuna.create_trial(
            state=TrialState.RUNNING, params=dict(candidate.choices), distributions=distributions, user_attrs=attributes
        )
        number = len(self._trials)
        trial._trial_id, trial.number = self._connection.do(lambda: self._create(trial, number)), number
        self._stored.append(trial)
        self._trials.append(_read(trial))
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
        error = _bounded(error)
        outcome: dict[str, Any] = {
            "metrics": dict(metrics),
            "error": error,
            "copied_from": copied_from,
            "order": self._num_finished,
        }
        if rejected:
            outcome["rejected"] = list(rejected)
        trial_id = self._stored[number]._trial_id
        self._connection.do(lambda: self._write_outcome(trial_id, state, reward, outcome))
        finished = replace(
            self._trials[number],
            state=state,
            reward=reward,
            metrics=outcome["metrics"],
            error=error,
            copied_from=copied_from,
            order=outcome["order"],
            rejected=tuple(rejected),
        )
        self._trials[number] = finished
        self._num_finished += 1
        return finished

    def trials(self) -> list[Trial]:
        """Every trial by number; a reader sees what was written up to now."""
        if not self._writable:
            self._stored = self._read_all()
            self._trials = [
                old if old is not None and old.state != "running" else _read(trial)
                for trial, old in zip_longest(self._stored, self._trials[: len(self._stored)])
            ]
        return list(self._trials)

    def _read_all(self) -> list[FrozenTrial]:
        return self._connection.do(lambda: list(self._storage.get_all_trials(self._study_id, deepcopy=False)))

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
    if url is None:
        return Journal(run.journal_file, writable=writable)
    return Journal(url, study=run.study(), writable=writable)


def _bounded(error: str | None) -> str | None:
    return None if error is None else shown(error, MESSAGE_LIMIT)


def _read(trial: FrozenTrial) -> Trial:
    attributes = trial.user_attrs
    candidate = Candidate(
        origin=attributes["origin"],
        genotype=Genotype.from_dict(attributes["genotype"]),
        proposal=attributes["proposal"],
        choices=trial.params,
        info=attributes.get("info", {}),
    )
    outcome = attributes["outcome"] if trial.state.is_finished() else {}
    return Trial(
        number=trial.number,
        candidate=candidate,
        state=_STATES[trial.state],
        reward=trial.intermediate_values.get(0) if trial.state == TrialState.PRUNED else trial.value,
        metrics=outcome.get("metrics", {}),
        error=_bounded(outcome.get("error")),
        copied_from=outcome.get("copied_from"),
        order=outcome.get("order"),
        rejected=tuple(outcome.get("rejected", ())),
    )
