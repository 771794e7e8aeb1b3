"""A search space as a sequence of named decisions that ends in a genotype."""

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
    """One step of building a genotype.

    Args:
        name: such as `cell3.input_a`.
        choices: the fixed set for this name, the same in every trial (samplers with static names need that).
        allowed: the part of `choices` that earlier choices leave open, never empty.
    """

    name: str
    choices: tuple[Choice, ...]
    allowed: tuple[Choice, ...]


class SearchSpace(ABC):
    """Every sequence of allowed choices decodes to a valid genotype, and each genotype has one sequence."""

    @abstractmethod
    def next_decision(self, choices: Choices) -> Decision | None:
        """The decision after `choices` (a prefix of a sequence), or None when the genotype is complete."""

    @abstractmethod
    def decode(self, choices: Choices) -> Genotype:
        """The genotype of a complete sequence.

        Raises:
            ValueError: if a decision is missing, unknown or not allowed.
        """

    @abstractmethod
    def encode(self, genotype: Genotype) -> dict[str, Choice]:
        """The sequence that decodes to `genotype`.

        Raises:
            ValueError: saying why, if the genotype is not a point of the space.
        """

    @abstractmethod
    def count(self, choices: Choices) -> int:
        """Exact number of genotypes that complete the prefix `choices`."""

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
        """A genotype drawn uniformly from the whole space."""
        choices: dict[str, Choice] = {}
        while (decision := self.next_decision(choices)) is not None:
            counts = [self.count({**choices, decision.name: choice}) for choice in decision.allowed]
            ticket = rng.randrange(sum(counts))
            for choice, count in zip(decision.allowed, counts, strict=True):
                ticket -= count
                if ticket < 0:
                    choices[decision.name] = choice
                    break
        return self.decode(choices)

    def enumerate(self) -> Iterator[Genotype]:
        """Every genotype once; for small spaces."""

        def complete(choices: dict[str, Choice]) -> Iterator[Genotype]:
            decision = self.next_decision(choices)
            if decision is None:
                yield self.decode(choices)
                return
            for choice in decision.allowed:
                yield from complete({**choices, decision.name: choice})

        return complete({})

    def mutate(self, genotype: Genotype, rng: random.Random) -> Genotype:
        """A genotype of the space that differs in one decision, and in what that decision forces to change.

        Raises:
            ValueError: if the genotype is not in the space, or if the space has only one point.
        """
        wishes = self.encode(genotype)
        alternatives = [
            (name, choice)
            for name, current in wishes.items()
            for choice in self._decision(wishes, name).choices
            if choice != current
        ]
        names = sorted({name for name, _ in alternatives})
        rng.shuffle(names)
        for name in names:
            choices = [choice for other, choice in alternatives if other == name]
            rng.shuffle(choices)
            for choice in choices:
                mutant = self._repair(self._reconcile(wishes, name, choice), rng)
                if mutant != genotype:
                    return mutant
        raise ValueError("cannot mutate: no single decision leads to another genotype of this space")

    def neighbours(self, genotype: Genotype) -> Iterator[Genotype]:
        """Every genotype at one changed decision that needs no further change, each once."""
        wishes = self.encode(genotype)
        seen = {genotype}
        for name, current in wishes.items():
            for choice in self._decision(wishes, name).choices:
                candidate = self._reconcile(wishes, name, choice)
                if choice != current and self._is_allowed(candidate):
                    neighbour = self.decode(candidate)
                    if neighbour not in seen:
                        seen.add(neighbour)
                        yield neighbour

    def _reconcile(self, choices: Choices, name: str, choice: Choice) -> dict[str, Choice]:
        """`choices` with one changed; a space may move other choices so that the change is a small one."""
        return {**choices, name: choice}

    def _decision(self, choices: Choices, name: str) -> Decision:
        prefix: dict[str, Choice] = {}
        while (decision := self.next_decision(prefix)) is not None and decision.name != name:
            prefix[decision.name] = choices[decision.name]
        assert decision is not None
        return decision

    def _is_allowed(self, choices: Choices) -> bool:
        prefix: dict[str, Choice] = {}
        while (decision := self.next_decision(prefix)) is not None:
            if choices.get(decision.name) not in decision.allowed:
                return False
            prefix[decision.name] = choices[decision.name]
        return len(prefix) == len(choices)

    def _repair(self, wishes: Choices, rng: random.Random) -> Genotype:
        """Follow the wishes where they are allowed, and draw from what is allowed where not."""
        choices: dict[str, Choice] = {}
        while (decision := self.next_decision(choices)) is not None:
            wish = wishes.get(decision.name)
            choices[decision.name] = (
                wish if wish is not None and wish in decision.allowed else rng.choice(decision.allowed)
            )
        return self.decode(choices)
