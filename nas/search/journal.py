"""The durable record of a search: an Optuna study, one trial per candidate."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from controllers.records import State
from nas.errors import UserError
from search_space import Choice, Genotype

STUDY = "search"
SEARCH, RANDOM, KNOWN_PREFIX = "search", "random", "known:"
_STATES: dict[TrialState, str] = {
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "stopped",
    TrialState.FAIL: "failed",
}
_TRIAL_STATES = {name: state for state, name in _STATES.items()}


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Something to train.

    Args:
        origin: `search`, `random`, or `known:NAME`.
        proposal: id of the controller's proposal, None for known necks.
        choices: the space's encoding, empty for known necks that are not in the space.
        info: what the controller noted with its proposal, and wants back when it is replayed.
    """

    origin: str
    genotype: Genotype
    proposal: int | None = None
    choices: Mapping[str, Choice] = field(default_factory=dict)
    info: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_known(self) -> bool:
        """Whether it is one of the search's published necks."""
        return self.origin.startswith(KNOWN_PREFIX)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A candidate in the journal.

    Args:
        state: `running` (or cut off with its process), `complete`, `stopped` or `failed`.
        reward: None unless complete or stopped.
        metrics: what was measured.
        error: why it failed.
        rejected: limits that it was over (`max_params`, ...), so that it failed without being trained.
        copied_from: number of the trial whose result this one shares, being the same function.
        order: how many trials had finished before this one; None while it runs.
    """

    number: int
    candidate: Candidate
    state: str
    reward: float | None
    metrics: Mapping[str, Any]
    error: str | None
    copied_from: int | None
    order: int | None
    rejected: tuple[str, ...] = ()


class JournalError(UserError):
    """A journal that cannot be read."""


class Journal:
    """All candidates of one search. One process writes, any number may read.

    Args:
        path: Optuna journal file; `optuna-dashboard PATH` opens it as it stands.
        writable: the writer removes what a killed writer left: half a line, and a stale lock. Only the process that
            has claimed the run directory may write.
    """

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._finished: dict[int, Trial] = {}
        if writable:
            _mend(path)
        storage = JournalStorage(JournalFileBackend(str(path)))
        try:
            if writable:
                self._study = optuna.create_study(
                    study_name=STUDY, storage=storage, direction="maximize", load_if_exists=True
                )
            else:
                self._study = optuna.load_study(study_name=STUDY, storage=storage)
        except (ValueError, KeyError) as error:
            raise JournalError(f"{path} cannot be read as a journal: {error}") from error

    def add(self, candidate: Candidate, *, space_choices: Mapping[str, tuple[Choice, ...]]) -> int:
        """Record a candidate as running; returns its number.

        Args:
            space_choices: the fixed choices of each of the candidate's decisions.
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
        number = len(self._study.get_trials(deepcopy=False))
        self._study.add_trial(
            optuna.create_trial(
                state=TrialState.RUNNING,
                params=dict(candidate.choices),
                distributions=distributions,
                user_attrs=attributes,
            )
        )
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
    ) -> None:
        """Record the outcome of a running trial; durable when this returns."""
        trials = self._study.get_trials(deepcopy=False)
        trial = optuna.trial.Trial(self._study, trials[number]._trial_id)
        order = sum(entry.state.is_finished() for entry in trials)
        outcome: dict[str, Any] = {"metrics": dict(metrics), "error": error, "copied_from": copied_from, "order": order}
        if rejected:
            outcome["rejected"] = list(rejected)
        trial.set_user_attr("outcome", outcome)
        if state == "stopped":
            assert reward is not None
            trial.report(reward, step=0)
        self._study.tell(number, reward if state == "complete" else None, state=_TRIAL_STATES[state])

    def trials(self) -> list[Trial]:
        """Every trial by number."""
        trials = self._study.get_trials(deepcopy=False)
        for trial in trials:
            if trial.state.is_finished() and trial.number not in self._finished:
                self._finished[trial.number] = _read(trial)
        return [self._finished.get(trial.number) or _read(trial) for trial in trials]


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
        reward=trial.value,
        metrics=outcome.get("metrics", {}),
        error=outcome.get("error"),
        copied_from=outcome.get("copied_from"),
        order=outcome.get("order"),
        rejected=tuple(outcome.get("rejected", ())),
    )


def _mend(path: Path) -> None:
    """Cut off a line that a killed writer did not finish, and take away its lock."""
    path.with_name(path.name + ".lock").unlink(missing_ok=True)
    if not path.exists():
        return
    with path.open("rb+") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            logging.getLogger(__name__).warning(
                "%s ended in an unfinished line of %d bytes; cut off", path, len(content) - whole
            )
            file.truncate(whole)
