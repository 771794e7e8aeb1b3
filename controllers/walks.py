"""What a search space can ask, found by walking through it."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable

from search_space import Choice, Decision, SearchSpace

RANDOM_WALKS = 64
"""Walks in search of decisions that exist only after certain choices."""

Pick = Callable[[tuple[Choice, ...]], Choice]


def walk(space: SearchSpace, pick: Pick) -> list[Decision]:
    """The decisions along one sequence; `pick` takes one of what is allowed."""
    choices: dict[str, Choice] = {}
    decisions = []
    while (decision := space.next_decision(choices)) is not None:
        decisions.append(decision)
        choices[decision.name] = pick(decision.allowed)
    return decisions


def _first(allowed: tuple[Choice, ...]) -> Choice:
    return allowed[0]


def _last(allowed: tuple[Choice, ...]) -> Choice:
    return allowed[-1]


def find_decisions(space: SearchSpace) -> dict[str, tuple[Choice, ...]]:
    """Fixed choices by decision name, in the order in which the names are met; the same in every process.

    A space that has all its names in every sequence is covered for certain; one with names that depend on earlier
    choices is searched by always taking the first choice, always the last, and at random `RANDOM_WALKS` times.
    """
    rng = random.Random(0)
    found: dict[str, tuple[Choice, ...]] = {}
    picks: list[Pick] = [_first, _last] + [rng.choice] * RANDOM_WALKS
    for pick in picks:
        for decision in walk(space, pick):
            found.setdefault(decision.name, decision.choices)
    return found


def space_digest(space: SearchSpace) -> str:
    """Tells spaces apart by their size and by the decisions along two sequences: always the first, always the last."""
    walks = [[(d.name, d.choices, d.allowed) for d in walk(space, pick)] for pick in (_first, _last)]
    return hashlib.sha256(json.dumps([space.size(), walks]).encode()).hexdigest()[:16]
