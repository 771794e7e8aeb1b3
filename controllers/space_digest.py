"""A short text that tells search spaces apart."""

from __future__ import annotations

import hashlib
import json

from search_space import Choice, Decision, SearchSpace


def space_digest(space: SearchSpace) -> str:
    """Of its size and the decisions along two sequences: always the first allowed choice, always the last."""
    walks = [[(d.name, d.choices, d.allowed) for d in _walk(space, position)] for position in (0, -1)]
    return hashlib.sha256(json.dumps([space.size(), walks]).encode()).hexdigest()[:16]


def _walk(space: SearchSpace, position: int) -> list[Decision]:
    choices: dict[str, Choice] = {}
    decisions = []
    while (decision := space.next_decision(choices)) is not None:
        decisions.append(decision)
        choices[decision.name] = decision.allowed[position]
    return decisions
