"""What a journal holds: candidates, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from search_space import Choice, Genotype

SEARCH, RANDOM, KNOWN_PREFIX, CONFIRM_PREFIX = "search", "random", "known:", "confirm:"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Something to train.

    Args:
        origin: `search`, `random`, `known:NAME`, or `confirm:TRIAL` for a trial's neck trained again.
        proposal: id of the controller's proposal, None for known necks and confirmations.
        choices: the space's encoding, empty where there is no proposal.
        info: what the controller noted with its proposal, and wants back when it is replayed.
    """

    origin: str
    genotype: Genotype
    proposal: int | None = None
    choices: Mapping[str, Choice] = field(default_factory=dict)
    info: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_known(self) -> bool:
        """Whether it is one of the search's published necks."""
        return self.origin.startswith(KNOWN_PREFIX)

    @property
    def confirms(self) -> int | None:
        """Number of the trial whose neck is trained again, if this is a confirmation."""
        if not self.origin.startswith(CONFIRM_PREFIX):
            return None
        return int(self.origin.removeprefix(CONFIRM_PREFIX))

    @property
    def is_limited(self) -> bool:
        """True if constraints and rungs hold for it: not for known necks, nor for a confirmation."""
        return not self.is_known and self.confirms is None


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A candidate in the journal.

    Args:
        state: `running` (or cut off with its process), `complete`, `stopped` or `failed`.
        reward: None unless complete or stopped.
        metrics: what was measured.
        error: why it failed.
        rejected: limits that it was over (`max_params`, ...), so that it failed without being trained.
        copied_from: number of the trial whose result this one shares, being the same function.
        order: how many trials had finished before this one; None while it runs.
    """

    number: int
    candidate: Candidate
    state: str
    reward: float | None
    metrics: Mapping[str, Any]
    error: str | None
    copied_from: int | None
    order: int | None
    rejected: tuple[str, ...] = ()


def is_number(value: object) -> bool:
    """Whether it is one that a journal takes for a metric: of Python's own, and no larger than a float can be."""
    try:
        return isinstance(value, int | float) and isinstance(float(value), float)
    except OverflowError:
        return False
