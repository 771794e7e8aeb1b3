"""Regularized evolution (Real et al. 2018, arXiv 1802.01548): tournament selection, removal of the oldest member."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from controllers.base import Controller
from controllers.checks import check_count, check_number
from controllers.records import Child, Outcome
from controllers.surrogate import Surrogate, check_installed
from search_space import Choice, Genotype, SearchSpace

MAX_MUTANTS = 100

MAX_STEPS = 4
"""Mutations in a row that one draw may take to get away from what was proposed already."""


@dataclass(frozen=True)
class Member:
    """Member of the population."""

    id: int
    reward: float
    genotype: Genotype


def select(population: Sequence[Member], size: int, rng: random.Random) -> Member:
    """Winner of a tournament: the best of `size` members drawn without replacement; of equals, the one proposed
    last."""
    contestants = rng.sample(population, min(size, len(population)))
    return max(contestants, key=lambda member: (member.reward, member.id))


def mutate(
    space: SearchSpace, parent: Genotype, is_duplicate: Callable[[Genotype], bool], rng: random.Random
) -> Genotype:
    """Mutation of the parent. A duplicate is mutated again, up to `MAX_STEPS` mutations in all."""
    child = parent
    for _ in range(MAX_STEPS):
        child = space.mutate(child, rng)
        if not is_duplicate(child):
            break
    return child


def survive(population: Sequence[Member], size: int) -> list[Member]:
    """The `size` members observed last."""
    return list(population[-size:])


def cross(space: SearchSpace, first: Genotype, second: Genotype, rng: random.Random) -> Genotype:
    """A child that takes each decision from either parent with equal chances, and repairs what does not fit.

    Where one parent's choice is not allowed after what the child has so far, the other's is taken; where neither is, an
    allowed one is drawn.
    """
    parents = (space.encode(first), space.encode(second))
    choices: dict[str, Choice] = {}
    while (decision := space.next_decision(choices)) is not None:
        order = parents if rng.random() < 0.5 else parents[::-1]
        wishes = [parent[decision.name] for parent in order if parent.get(decision.name) in decision.allowed]
        choices[decision.name] = wishes[0] if wishes else rng.choice(decision.allowed)
    return space.decode(choices)


class EvolutionController(Controller):
    """Asynchronous regularized evolution: a child is bred whenever a proposal is asked for.

    The first `num_random` proposals, initial genotypes included, are not bred: after the initial genotypes they are
    drawn uniformly. Later proposals are also drawn uniformly as long as fewer than `tournament_size` members have a
    reward (or fewer than `num_random`, if that is smaller). From then on each proposal is a mutation of the winner of a
    tournament. With probability `crossover` it is a child of the winners of two tournaments instead (`cross`), which is
    mutated if it was proposed before. With `mutants` above 1, that many mutations of the winner are drawn, and a random
    forest fitted to all rewards so far chooses one of them (Thompson sampling over its trees).

    The age of a member is the order in which its outcome was observed. Initial genotypes are the oldest members. With
    `num_random` equal to `population_size`, as in the paper, they are removed just when breeding starts. So if a search
    has initial genotypes, make its random phase shorter than its population.

    A failed trial never enters the population, but it counts as one of the `num_random` proposals. A stopped trial
    enters with the reward that it had when it was stopped. It seldom wins a tournament, but it ages the other members.

    The paper has a population of 100 and tournaments of 25 for 20,000 trials. The defaults are for 24 to a few hundred
    trials: a random phase of 10 leaves most of even the shortest search to evolution, and tournaments of 4 are greedier
    than the paper's, because there are few generations.

    Args:
        population_size: number of members.
        tournament_size: members per tournament; more is greedier, 1 is a random walk.
        num_random: length of the random phase; default: `population_size`.
        crossover: share of children with two parents; the paper has 0.
        mutants: number of mutations drawn for one proposal; more than 1 needs scikit-learn (the extra `screening`).

    Raises:
        ValueError: if an argument is out of range (1 <= tournament_size <= population_size, num_random >= 0,
            0 <= crossover <= 1, mutants >= 1), or if mutants is above 1 and scikit-learn is missing.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        initial: Sequence[Genotype] = (),
        population_size: int = 10,
        tournament_size: int = 4,
        num_random: int | None = None,
        crossover: float = 0.0,
        mutants: int = 1,
    ) -> None:
        super().__init__(space, seed=seed, initial=initial)
        check_count("population_size", population_size, 0)
        check_count("tournament_size", tournament_size, 0)
        if not 1 <= tournament_size <= population_size:
            raise ValueError(
                "tournament_size must be from 1 to population_size, "
                f"got tournament_size={tournament_size}, population_size={population_size}"
            )
        if num_random is not None:
            check_count("num_random", num_random, 0)
        check_number("crossover", crossover, 0, 1)
        check_count("mutants", mutants, 1, MAX_MUTANTS)
        if mutants > 1:
            check_installed(f"mutants={mutants}")
        self.crossover = crossover
        self.mutants = mutants
        self._surrogate = Surrogate()
        self._history: list[Member] = []
        self.num_random = population_size if num_random is None else num_random
        self.population_size = population_size
        self.tournament_size = tournament_size
        self._population: list[Member] = []

    @property
    def population(self) -> tuple[Member, ...]:
        """Members of the population, oldest first."""
        return tuple(self._population)

    def diagnostics(self) -> dict[str, float]:
        """Mean and best reward of the members, and their mean age in proposals."""
        if not self._population:
            return {}
        rewards = [member.reward for member in self._population]
        ages = [self._latest - member.id for member in self._population]
        return {
            "mean reward of the population": sum(rewards) / len(rewards),
            "best reward of the population": max(rewards),
            "mean age of the population (proposals)": sum(ages) / len(ages),
        }

    @property
    def _latest(self) -> int:
        """Id of the newest member."""
        return max(member.id for member in self._population)

    def _next(self, rng: random.Random) -> Genotype | Child:
        fewest = min(self.tournament_size, max(1, self.num_random))
        if self.num_proposed < self.num_random or len(self._population) < fewest:
            return self.space.sample(rng)
        winner = select(self._population, self.tournament_size, rng)
        return Child(self._bred(winner.genotype, rng), winner.id)

    def _bred(self, parent: Genotype, rng: random.Random) -> Genotype:
        if self.crossover and rng.random() < self.crossover:
            other = select(self._population, self.tournament_size, rng).genotype
            child = cross(self.space, parent, other, rng)
            return mutate(self.space, child, self._is_duplicate, rng) if self._is_duplicate(child) else child
        mutants = [mutate(self.space, parent, self._is_duplicate, rng) for _ in range(self.mutants)]
        return self._surrogate.choose(mutants, rng)

    def _learn(self, outcome: Outcome) -> None:
        if outcome.reward is not None:
            member = Member(outcome.proposal.id, outcome.reward, outcome.proposal.genotype)
            self._population = survive([*self._population, member], self.population_size)
            if self.mutants > 1:
                self._history.append(member)
                self._surrogate.learn(member.genotype, member.reward)

    def _state(self) -> dict[str, Any]:
        """Where mutants are screened, all members that there ever were: the forest is fitted to them."""
        members = self._history if self.mutants > 1 else self._population
        return {
            "population": [
                {"id": member.id, "reward": member.reward, "genotype": member.genotype.to_dict()} for member in members
            ]
        }

    def _load(self, state: Mapping[str, Any]) -> None:
        members = [
            Member(item["id"], item["reward"], Genotype.from_dict(item["genotype"])) for item in state["population"]
        ]
        self._population = survive(members, self.population_size)
        self._history = []
        self._surrogate.forget()
        if self.mutants > 1:
            self._history = members
            for member in members:
                self._surrogate.learn(member.genotype, member.reward)
