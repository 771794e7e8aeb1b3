"""Records of a journal: candidates, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from search_space import Choice, Genotype

SEARCH, RANDOM, KNOWN_PREFIX, CONFIRM_PREFIX, CONTROL_PREFIX = "search", "random", "known:", "confirm:", "control:"

Kind = Literal["proposed", "known", "confirmation", "control"]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Something to train.

    Args:
        origin: `search`, `random`, `known:NAME`, `confirm:TRIAL` for a trial's neck trained again, or
            `control:TRIAL:DEPTH` for one trained on from its own weights.
        proposal: id of the controller's proposal, None for all that no controller proposed.
        choices: the space's encoding, empty where there is no proposal.
        info: what the controller noted with its proposal, and wants back when it is replayed.
        parent: id of the same controller's proposal from which it was bred, if it was.
        channels: of the neck, for known necks with a width of their own; None: that of the search's candidates.
    """

    origin: str
    genotype: Genotype
    proposal: int | None = None
    choices: Mapping[str, Choice] = field(default_factory=dict)
    info: Mapping[str, float] = field(default_factory=dict)
    parent: int | None = None
    channels: int | None = None

    @property
    def kind(self) -> Kind:
        """Kind of trial: proposed by a controller, a published neck, or one of those trained once more."""
        if self.origin.startswith(KNOWN_PREFIX):
            return "known"
        if self.origin.startswith(CONFIRM_PREFIX):
            return "confirmation"
        return "control" if self.origin.startswith(CONTROL_PREFIX) else "proposed"

    @property
    def is_known(self) -> bool:
        """True for one of the search's published necks."""
        return self.kind == "known"

    @property
    def is_candidate(self) -> bool:
        """True if it stands for itself: no confirmation and no control of another trial."""
        return self.kind in ("proposed", "known")

    @property
    def confirms(self) -> int | None:
        """Number of the trial whose neck is trained again, if this is a confirmation."""
        return int(self.origin.removeprefix(CONFIRM_PREFIX)) if self.kind == "confirmation" else None

    @property
    def controls(self) -> tuple[int, int] | None:
        """Number of the trial whose neck is trained on, and how often it then was, if this is a control."""
        if self.kind != "control":
            return None
        root, _, depth = self.origin.removeprefix(CONTROL_PREFIX).partition(":")
        return int(root), int(depth)

    @property
    def is_limited(self) -> bool:
        """True if constraints and rungs hold for it: for what a controller proposed."""
        return self.kind == "proposed"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A candidate in the journal.

    Args:
        state: `running` (or cut off with its process), `complete`, `stopped` or `failed`.
        reward: None unless complete or stopped.
        metrics: what was measured.
        error: why it failed.
        rejected: limits that it was over (`max_params`, ...), so that it failed without being trained.
        ended: when it finished, in seconds since 1970; None while it runs.
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
    ended: float | None = None


def is_number(value: object) -> bool:
    """True for a number that a journal takes for a metric: one of Python's own, no larger than a float can be."""
    try:
        return isinstance(value, int | float) and isinstance(float(value), float)
    except OverflowError:
        return False
