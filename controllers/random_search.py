"""Random search: the baseline that every other controller has to beat."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from controllers.base import Controller
from controllers.records import Outcome
from search_space import Genotype


class RandomController(Controller):
    """Random search: proposes genotypes drawn uniformly from the space, whatever the outcomes."""

    def _next(self, rng: random.Random) -> Genotype:
        return self.space.sample(rng)

    def _learn(self, outcome: Outcome) -> None:
        pass

    def _state(self) -> dict[str, Any]:
        return {}

    def _load(self, state: Mapping[str, Any]) -> None:
        pass
