"""Regularized evolution (Real et al. 2018, arXiv 1802.01548): tournaments, and the oldest dies."""

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
    """One of the population."""

    id: int
    reward: float
    genotype: Genotype


def select(population: Sequence[Member], size: int, rng: random.Random) -> Member:
    """The best of `size` members drawn without replacement, or of all; of equals, the one proposed last."""
    contestants = rng.sample(population, min(size, len(population)))
    return max(contestants, key=lambda member: (member.reward, member.id))


def mutate(
    space: SearchSpace, parent: Genotype, is_duplicate: Callable[[Genotype], bool], rng: random.Random
) -> Genotype:
    """A neighbour of the parent; while that is a duplicate it is mutated again, at most `MAX_STEPS` in all."""
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
    """Regularized evolution, asynchronous: a child is bred whenever one is asked for.

    The first `num_random` proposals are drawn uniformly (after the initial genotypes, which count), and so are later
    ones while fewer than `tournament_size` members have a reward, or fewer than `num_random` where that is smaller.
    Then each proposal is a mutation of the winner of a tournament, or with probability `crossover` a child of the
    winners of two (`cross`), mutated if it was proposed before. With `mutants` above 1 that many mutations of the
    winner are drawn, and a random forest fitted to all rewards so far says which of them is proposed (Thompson sampling
    over its trees).

    Members age by the order in which their outcomes are observed. Initial genotypes are the oldest: with `num_random`
    equal to `population_size`, as in the paper, they die just when breeding starts, so give a search that starts from
    some a random phase shorter than its population.

    A failed trial never enters the population, but counts as proposed: it does not prolong the random phase. A
    stopped one enters with the reward that it had when it was cut: it was cut for being behind, and so it seldom wins
    a tournament, but it ages the others as any trial does.

    The paper has a population of 100 and tournaments of 25 for 20,000 trials. The defaults are for 24 to a few hundred:
    a random phase of 10 leaves most of even the shortest search to evolution, and tournaments of 4, greedier than
    the paper's quarter, make use of what few generations there are.

    Args:
        population_size: members that live at once.
        tournament_size: contestants per tournament; more is greedier, 1 is a random walk.
        num_random: length of the random phase; by default the population's size.
        crossover: share of children with two parents; 0, as in the paper, has none.
        mutants: mutations drawn for one proposal; more than 1 needs scikit-learn (the extra `screening`).

    Raises:
        ValueError: unless 1 <= tournament_size <= population_size, num_random is not negative, crossover is a share and
            mutants are 1 or more, and scikit-learn is there if they are more.
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
        """Living members, oldest first."""
        return tuple(self._population)

    def diagnostics(self) -> dict[str, float]:
        """Of the living members: mean and best reward, and how many proposals ago they were proposed, on average."""
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
