"""Small in-memory study that an Optuna sampler sees, a pure function of the records told to it."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseGASampler, BaseSampler
from optuna.samplers._lazy_random_state import LazyRandomState
from optuna.storages import InMemoryStorage
from optuna.study import Study, StudyDirection
from optuna.trial import TrialState, create_trial

from search_space import Choice, SearchSpace

Ask = Callable[[str], Choice | None]
"""Suggests one of the fixed choices of the decision of that name, allowed or not, or None for its absence."""


@dataclass(frozen=True)
class Record:
    """A trial as the sampler sees it.

    Args:
        choices: complete and allowed.
        reward: decides which trials are the best to keep.
        values: what the sampler maximises.
    """

    choices: Mapping[str, Choice]
    reward: float
    values: tuple[float, ...]


STUDY = "history"


class SharedDistribution(CategoricalDistribution):
    """One object for all trials: Optuna's in-memory storage copies a distribution into every trial otherwise."""

    def __deepcopy__(self, memo: dict[int, Any]) -> SharedDistribution:
        return self

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, CategoricalDistribution) and super().__eq__(other))

    __hash__ = CategoricalDistribution.__hash__


class History:
    """A study that forgets: see `OptunaController`.

    The trials in the study follow from the records told; the generator is seeded before each use of the sampler. What
    the sampler notes down about a running trial goes to a scratch trial in another study and is never read: an
    unfinished trial in its own would make it go through all later ones for every suggestion.

    Args:
        space: where the choices come from.
        sampler: the template; a copy serves one study.
        objectives: number of values per record.
        window: trials at which a study is rebuilt, unless the sampler is a genetic one.
        seed: for choices that the sampler makes outside proposals.
    """

    def __init__(self, space: SearchSpace, sampler: BaseSampler, objectives: int, window: int, seed: int) -> None:
        self.num_told = 0
        self._template = sampler
        self._objectives = objectives
        self._window = window
        self._seed = seed
        self._distributions: dict[str, BaseDistribution] = {
            name: SharedDistribution(choices) for name, choices in space.decisions().items()
        }
        self._rebuild([])

    def tell(self, record: Record) -> None:
        """Add a record, and drop older ones when there are enough."""
        self.num_told += 1
        self._add(record)
        if isinstance(self._sampler, BaseGASampler):
            if len(self._records) == 2 * (self._sampler.population_size or 0):
                self._rebuild(self._next_parents(self._sampler))
        elif len(self._records) >= self._window:
            self._rebuild(keep_best_and_latest(self._records, self._window // 4))

    def ask(self, seed: int) -> Ask:
        """A new suggestion, drawn from the seed."""
        reseed(self._sampler, seed)
        trial = copy.deepcopy(self._scratch)
        trial.number = len(self._records)
        study = self._study()
        space = self._sampler.infer_relative_search_space(study, trial)
        relative = self._sampler.sample_relative(study, trial, space)

        def suggest(name: str) -> Choice | None:
            if name in relative:
                return relative[name]  # type: ignore[no-any-return]
            return self._sampler.sample_independent(  # type: ignore[no-any-return]
                study, trial, name, self._distributions[name]
            )

        return suggest

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        records = [
            {"choices": dict(record.choices), "reward": record.reward, "values": list(record.values)}
            for record in self._records
        ]
        return {"num_told": self.num_told, "records": records}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Replace everything by what `to_dict` wrote."""
        self.num_told = state["num_told"]
        self._rebuild(
            [Record(dict(item["choices"]), item["reward"], tuple(item["values"])) for item in state["records"]]
        )

    def _rebuild(self, records: Sequence[Record]) -> None:
        self._records: list[Record] = []
        self._storage = InMemoryStorage()
        directions = [StudyDirection.MAXIMIZE] * self._objectives
        self._sampler = copy.deepcopy(self._template)
        with quiet():
            study_id, scratch = (self._storage.create_new_study(directions, name) for name in (STUDY, "scratch"))
        self._study_id = study_id
        self._scratch = copy.deepcopy(self._storage.get_trial(self._storage.create_new_trial(scratch)))
        for record in records:
            self._add(record)

    def _study(self) -> Study:
        """A new view on the trials: a study object remembers the trials that it was asked for once."""
        return optuna.load_study(study_name=STUDY, storage=self._storage, sampler=self._sampler)

    def _add(self, record: Record) -> None:
        params = {name: record.choices.get(name) for name in self._distributions}
        template = create_trial(state=TrialState.RUNNING, params=params, distributions=self._distributions)
        trial_id = self._storage.create_new_trial(self._study_id, template)
        if isinstance(self._sampler, BaseGASampler):
            self._sampler.get_trial_generation(self._study(), self._storage.get_trial(trial_id))
        self._storage.set_trial_state_values(trial_id, TrialState.COMPLETE, record.values)
        self._records.append(record)
        if isinstance(self._sampler, BaseGASampler) and len(self._records) == self._sampler.population_size:
            self._reseed_between_proposals()
            self._sampler.get_parent_population(self._study(), generation=1)

    def _next_parents(self, sampler: BaseGASampler) -> list[Record]:
        """Survivors of the two generations in the study, in the order in which they were told."""
        self._reseed_between_proposals()
        ids = {trial._trial_id for trial in sampler.select_parent(self._study(), generation=2)}
        trials = self._study().get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        return [record for record, trial in zip(self._records, trials, strict=True) if trial._trial_id in ids]

    def _reseed_between_proposals(self) -> None:
        reseed(self._sampler, random.Random(f"{self._seed}:told {self.num_told}").getrandbits(32))


def keep_best_and_latest(records: Sequence[Record], each: int) -> list[Record]:
    """The `each` best by reward (of equals the later) and of the others the `each` latest, in the given order."""
    ranked = sorted(range(len(records)), key=lambda index: (records[index].reward, index))
    best = set(ranked[-each:])
    latest = [index for index in range(len(records)) if index not in best][-each:]
    return [records[index] for index in sorted(best.union(latest))]


def reseed(sampler: BaseSampler, seed: int) -> None:
    """Seed every generator of the sampler. (`BaseSampler.reseed_rng` seeds from the operating system.)"""
    for index, generator in enumerate(generators(sampler)):
        generator.seed((seed + index) % 2**32)


def generators(sampler: BaseSampler) -> list[np.random.RandomState]:
    """The generators of a sampler and of Optuna's parts that it is made of, each once, in the order of attributes."""
    found: dict[int, np.random.RandomState] = {}
    seen: set[int] = set()

    def search(part: object) -> None:
        if id(part) in seen or not type(part).__module__.startswith("optuna."):
            return
        seen.add(id(part))
        if isinstance(part, LazyRandomState):
            found[id(part)] = part.rng
            return
        for value in vars(part).values() if hasattr(part, "__dict__") else ():
            search(value)

    for value in vars(sampler).values():
        search(value)
    return list(found.values())


@contextmanager
def quiet() -> Iterator[None]:
    """No message that a study was created, whatever the level that the caller chose for Optuna."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
