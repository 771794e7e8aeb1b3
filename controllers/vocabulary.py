"""Every decision that a search space can ask for, numbered."""

from __future__ import annotations

from dataclasses import dataclass

from search_space import Decision, SearchSpace


@dataclass(frozen=True)
class Vocabulary:
    """Numbers for decisions and their choices, so that the size of a policy is known before it starts.

    Row 0 stands for the start of a sequence.

    Args:
        names: decision name -> its number.
        offsets: per decision the row of its first choice.
        max_choices: choices of the largest decision.
        num_rows: 1 + all choices of all decisions.
    """

    names: dict[str, int]
    offsets: tuple[int, ...]
    max_choices: int
    num_rows: int

    @classmethod
    def of(cls, space: SearchSpace) -> Vocabulary:
        """Of all its decisions."""
        choices = {name: [value for value in each if value is not None] for name, each in space.decisions().items()}
        offsets, row = [], 1
        for values in choices.values():
            offsets.append(row)
            row += len(values)
        names = {name: index for index, name in enumerate(choices)}
        return cls(names, tuple(offsets), max(map(len, choices.values())), row)

    def index(self, decision: Decision) -> int:
        """The decision's number."""
        return self.names[decision.name]

    def row(self, name: int, action: int) -> int:
        """The row of a choice, by the decision's number and the choice's position."""
        return self.offsets[name] + action

    def mask(self, decision: Decision) -> list[bool]:
        """Mask of the fixed choices: True where allowed, padded with False."""
        padding = [False] * (self.max_choices - len(decision.choices))
        return [choice in decision.allowed for choice in decision.choices] + padding
