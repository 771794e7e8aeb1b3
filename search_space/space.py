"""Search spaces: sequences of named decisions, each of which ends in a genotype."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from search_space.genotype import Genotype

Choice = int | str
Choices = Mapping[str, Choice]
"""Decision name -> choice, in the order of the decisions."""


@dataclass(frozen=True)
class Decision:
    """Decision: one step in building a genotype.

    Args:
        name: such as `cell3.input_a`.
        choices: all choices of the decision; the same in every trial, because Optuna's samplers need that.
        allowed: the choices that earlier decisions allow; never empty.
    """

    name: str
    choices: tuple[Choice, ...]
    allowed: tuple[Choice, ...]


class SearchSpace(ABC):
    """Search space. Every sequence of allowed choices decodes to a valid genotype; each genotype has one sequence."""

    @abstractmethod
    def next_decision(self, choices: Choices) -> Decision | None:
        """Next decision after `choices`, the first choices of a sequence; None if the genotype is complete."""

    @abstractmethod
    def decisions(self) -> dict[str, tuple[Choice | None, ...]]:
        """All choices of every decision by name. None follows them if some sequences do not have the decision."""

    @abstractmethod
    def _build(self, choices: Choices) -> Genotype:
        """The genotype of a complete sequence of allowed choices."""

    @abstractmethod
    def encode(self, genotype: Genotype) -> dict[str, Choice]:
        """Sequence of choices that decodes to `genotype`.

        Raises:
            ValueError: if the genotype is not in the space; the message says why.
        """

    @abstractmethod
    def count(self, choices: Choices) -> int:
        """Exact number of genotypes whose sequences begin with `choices`."""

    def decode(self, choices: Choices) -> Genotype:
        """The genotype of a complete sequence.

        Raises:
            ValueError: if a decision is missing, unknown or not allowed.
        """
        return self._build(self._validated(choices))

    def contains(self, genotype: Genotype) -> bool:
        try:
            self.encode(genotype)
        except ValueError:
            return False
        return True

    def size(self) -> int:
        """Exact number of genotypes."""
        return self.count({})

    def sample(self, rng: random.Random) -> Genotype:
        """Draw a genotype uniformly from the whole space."""
        choices: dict[str, Choice] = {}
        while (decision := self.next_decision(choices)) is not None:
            weights = self._weights(choices, decision)
            ticket = rng.randrange(sum(weights))
            for choice, weight in zip(decision.allowed, weights, strict=True):
                ticket -= weight
                if ticket < 0:
                    choices[decision.name] = choice
                    break
        return self._build(choices)

    def enumerate(self) -> Iterator[Genotype]:
        """Iterate over all genotypes, each once. For small spaces."""

        def complete(choices: dict[str, Choice]) -> Iterator[Genotype]:
            decision = self.next_decision(choices)
            if decision is None:
                yield self._build(choices)
                return
            for choice in decision.allowed:
                yield from complete({**choices, decision.name: choice})

        return complete({})

    def mutate(self, genotype: Genotype, rng: random.Random) -> Genotype:
        """Genotype of the space that differs in one decision, and in the decisions that have to follow it.

        Raises:
            ValueError: if the genotype is not in the space, or if the space has only one point.
        """
        wishes = self.encode(genotype)
        moves = {decision.name: self._moves(decision, wishes[decision.name]) for decision in self._walk(wishes)}
        names = sorted(name for name, choices in moves.items() if choices)
        rng.shuffle(names)
        for name in names:
            choices = moves[name]
            rng.shuffle(choices)
            for choice in choices:
                mutant = self._repair(self._reconcile(wishes, name, choice), rng)
                if mutant != genotype:
                    return mutant
        raise ValueError("cannot mutate: no single decision leads to another genotype of this space")

    def neighbours(self, genotype: Genotype) -> Iterator[Genotype]:
        """Iterate over all genotypes that differ in exactly one decision, each once."""
        wishes = self.encode(genotype)
        seen = {genotype}
        for decision in self._walk(wishes):
            for choice in self._moves(decision, wishes[decision.name]):
                candidate = self._reconcile(wishes, decision.name, choice)
                if self._is_allowed(candidate):
                    neighbour = self._build(candidate)
                    if neighbour not in seen:
                        seen.add(neighbour)
                        yield neighbour

    def _weights(self, choices: Choices, decision: Decision) -> list[int]:
        """Genotypes that follow each allowed choice of the next decision: `sample` draws in proportion to them."""
        return [self.count({**choices, decision.name: choice}) for choice in decision.allowed]

    def _moves(self, decision: Decision, current: Choice) -> list[Choice]:
        """Choices that mutation may change a decision to."""
        return [choice for choice in decision.choices if choice != current]

    def _reconcile(self, choices: Choices, name: str, choice: Choice) -> dict[str, Choice]:
        """`choices` with one changed; a space may move other choices so that the change is a small one."""
        return {**choices, name: choice}

    def _walk(self, choices: Choices) -> Iterator[Decision]:
        """The decisions of a complete sequence, in order."""
        prefix: dict[str, Choice] = {}
        while (decision := self.next_decision(prefix)) is not None:
            yield decision
            prefix[decision.name] = choices[decision.name]

    def _validated(self, choices: Choices) -> dict[str, Choice]:
        """The sequence in the order of its decisions.

        Raises:
            ValueError: if a decision is missing, unknown or not allowed.
        """
        prefix: dict[str, Choice] = {}
        while (decision := self.next_decision(prefix)) is not None:
            if choices.get(decision.name) not in decision.allowed:
                raise ValueError(
                    f"{decision.name} is {choices.get(decision.name)!r}, allowed here are {decision.allowed}"
                )
            prefix[decision.name] = choices[decision.name]
        if unknown := set(choices) - set(prefix):
            raise ValueError(f"choices for decisions that this space does not have: {sorted(unknown)}")
        return prefix

    def _is_allowed(self, choices: Choices) -> bool:
        try:
            self._validated(choices)
        except ValueError:
            return False
        return True

    def _repair(self, wishes: Choices, rng: random.Random) -> Genotype:
        """Follow the wishes where they are allowed, and draw from what is allowed where not."""
        choices: dict[str, Choice] = {}
        while (decision := self.next_decision(choices)) is not None:
            wish = wishes.get(decision.name)
            choices[decision.name] = (
                wish if wish is not None and wish in decision.allowed else rng.choice(decision.allowed)
            )
        return self._build(choices)
