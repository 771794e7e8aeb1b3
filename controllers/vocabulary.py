"""Every decision that a search space can ask for, numbered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from controllers.walks import RANDOM_WALKS, find_decisions
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
        """Of the decisions that `find_decisions` meets."""
        choices = find_decisions(space)
        offsets, row = [], 1
        for values in choices.values():
            offsets.append(row)
            row += len(values)
        names = {name: index for index, name in enumerate(choices)}
        return cls(names, tuple(offsets), max(map(len, choices.values())), row)

    def index(self, decision: Decision) -> int:
        """The decision's number.

        Raises:
            ValueError: for a decision that `find_decisions` did not meet.
        """
        if decision.name not in self.names:
            raise ValueError(
                f"decision {decision.name} was not met in {RANDOM_WALKS} random walks through the space; "
                "a policy needs decisions that are not that rare"
            )
        return self.names[decision.name]

    def row(self, name: int, action: int) -> int:
        """The row of a choice, by the decision's number and the choice's position."""
        return self.offsets[name] + action

    def mask(self, decision: Decision) -> np.ndarray:
        """Which of the fixed choices are allowed, padded with False."""
        mask = np.zeros(self.max_choices, dtype=bool)
        mask[: len(decision.choices)] = [choice in decision.allowed for choice in decision.choices]
        return mask
