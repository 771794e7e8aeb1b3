"""Any Optuna sampler as a controller; TPE and NSGA-II by name."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.samplers import BaseGASampler, BaseSampler, NSGAIISampler, TPESampler

from controllers.base import Controller
from controllers.checks import check_count
from controllers.evolution import mutate
from controllers.optuna_history import History, Record, generators
from controllers.records import Outcome
from search_space import Choice, Decision, Genotype, SearchSpace

TPE_WINDOW = 160
POPULATION_SIZE = 20


class OptunaController(Controller):
    """Controller that asks an Optuna sampler for every decision, over an in-memory study of finished trials.

    Optuna needs the same choices for a name in every trial, so the sampler chooses among the fixed choices of a
    decision. A choice that is not allowed is replaced by the nearest allowed one in the order of the fixed choices (of
    two, the earlier). The study records the genotype that was proposed, not the sampler's suggestion. Absence of a
    decision counts as one more choice; if the sampler suggests absence for a decision that exists, the choice is drawn
    uniformly. A suggestion that was proposed before is mutated as in `evolution.mutate`.

    The sampler sees finished trials in the order in which their outcomes are observed, and no pending ones. Concurrent
    trials differ only by the seed of their proposal. The sampler does not see failed trials, because Optuna's samplers
    skip them. Stopped trials count as complete with the reward that they had: Optuna's own `PRUNED` would rank all of
    them below the worst complete trial. Until `num_random` outcomes have a reward, proposals are drawn uniformly.

    The study is kept small, so that time and memory do not grow with the trials. When it has `window` trials, it is
    rebuilt from the best quarter (by reward) and the latest quarter. With a genetic sampler it is rebuilt from the
    parents of the next generation, whenever a generation is full.

    The sampler's generator is seeded anew for every proposal. So a sampler that learns only from finished trials (TPE,
    NSGA-II, NSGA-III, GP, random) is recovered exactly from a state or a journal. A sampler that keeps its own notes
    about running trials (CMA-ES, grid, QMC) is not.

    Args:
        sampler: `tpe`, `nsga2`, or a sampler, which is copied. To load a state or replay a journal, pass a sampler with
            the same settings; a state does not record them.
        objectives: number of objectives. 1 maximises `Outcome.reward`; more maximise `Outcome.objectives`, which must
            have that length.
        num_random: length of the random phase; default: the population of a genetic sampler, or else 10.
        window: number of trials at which the study is rebuilt; ignored with genetic samplers.

    Raises:
        ValueError: for an unknown name, a sampler without a generator that can be seeded, or a number out of range.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        initial: Sequence[Genotype] = (),
        sampler: str | BaseSampler = "tpe",
        objectives: int = 1,
        num_random: int | None = None,
        window: int = TPE_WINDOW,
    ) -> None:
        super().__init__(space, seed=seed, initial=initial)
        _check_numbers(objectives=objectives, num_random=num_random, window=window)
        self.objectives = objectives
        self.window = window
        self._template = build_sampler(sampler) if isinstance(sampler, str) else copy.deepcopy(sampler)
        if not generators(self._template):
            raise ValueError(f"the sampler {type(self._template).__name__} has no random generator that can be seeded")
        population = self._template.population_size if isinstance(self._template, BaseGASampler) else None
        self.num_random = (population or 10) if num_random is None else num_random
        self._history = History(space, self._template, objectives, window, seed)

    def _next(self, rng: random.Random) -> Genotype:
        if self._history.num_told < max(self.num_random, 1):
            return self.space.sample(rng)
        genotype = self.space.decode(self._suggest(rng))
        return mutate(self.space, genotype, self._is_duplicate, rng) if self._is_duplicate(genotype) else genotype

    def _suggest(self, rng: random.Random) -> dict[str, Choice]:
        ask = self._history.ask(rng.getrandbits(32))
        choices: dict[str, Choice] = {}
        while (decision := self.space.next_decision(choices)) is not None:
            wish = ask(decision.name)
            choices[decision.name] = rng.choice(decision.allowed) if wish is None else nearest_allowed(decision, wish)
        return choices

    def _check_outcome(self, outcome: Outcome) -> None:
        if self.objectives == 1 or outcome.state == "failed":
            return
        if outcome.objectives is None or len(outcome.objectives) != self.objectives:
            raise ValueError(
                f"outcome of proposal {outcome.proposal.id}: this controller maximises {self.objectives} objectives, "
                f"got objectives={outcome.objectives}"
            )

    def _learn(self, outcome: Outcome) -> None:
        if outcome.reward is None:
            return
        values = outcome.objectives if self.objectives > 1 else None
        self._history.tell(Record(outcome.proposal.choices, outcome.reward, values or (outcome.reward,)))

    def _state(self) -> dict[str, Any]:
        return self._history.to_dict()

    def _load(self, state: Mapping[str, Any]) -> None:
        self._history = History(self.space, self._template, self.objectives, self.window, self.seed)
        self._history.restore(state)

    def _identity(self) -> dict[str, Any]:
        return {**super()._identity(), "sampler": type(self._template).__name__, "objectives": self.objectives}


class TpeController(OptunaController):
    """`OptunaController` with the tree-structured Parzen estimator over all decisions at once (multivariate)."""

    def __init__(self, space: SearchSpace, *, seed: int = 0, initial: Sequence[Genotype] = (), **options: Any) -> None:
        super().__init__(space, seed=seed, initial=initial, sampler="tpe", **options)


class Nsga2Controller(OptunaController):
    """`OptunaController` with NSGA-II, for one objective or several.

    Args:
        population_size: trials per generation; Optuna's 50 is for thousands of trials.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        initial: Sequence[Genotype] = (),
        population_size: int = POPULATION_SIZE,
        **options: Any,
    ) -> None:
        check_count("population_size", population_size, 2)
        sampler = NSGAIISampler(population_size=population_size)
        super().__init__(space, seed=seed, initial=initial, sampler=sampler, **options)


def build_sampler(name: str) -> BaseSampler:
    """The sampler of that name.

    Raises:
        ValueError: for an unknown name.
    """
    if name == "tpe":
        return TPESampler(n_startup_trials=1, multivariate=True, constant_liar=False)
    if name == "nsga2":
        return NSGAIISampler(population_size=POPULATION_SIZE)
    raise ValueError(f"sampler must be 'tpe', 'nsga2' or an Optuna sampler, got {name!r}")


def nearest_allowed(decision: Decision, wish: Choice) -> Choice:
    """The allowed choice whose position among the fixed choices is nearest to that of the wish; of two, the earlier."""
    position = decision.choices.index(wish)
    return min(decision.allowed, key=lambda choice: abs(decision.choices.index(choice) - position))


def _check_numbers(*, objectives: int, num_random: int | None, window: int) -> None:
    check_count("objectives", objectives, 1)
    if num_random is not None:
        check_count("num_random", num_random, 0)
    check_count("window", window, 8)
