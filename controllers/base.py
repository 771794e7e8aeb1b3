"""Base class of controllers: ids, pending proposals, duplicates and recovery."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, final

from controllers.records import Child, Outcome, Proposal
from controllers.space_digest import space_digest
from search_space import Choices, Genotype, SearchSpace

MAX_TRIES = 200
"""Draws per proposal before a genotype that was proposed already is let through."""

FORMAT_VERSION = 2
"""2: the space and what was remembered of pending proposals are part of a state."""


class Controller(ABC):
    """Base class of controllers, which propose genotypes and learn from outcomes (ask and tell).

    A controller does no I/O and never uses a global random generator. Proposal k draws from its own generator, seeded
    with (seed, k). The state depends only on the proposals in order and on the outcomes in the order of observation. So
    later proposals do not depend on how many are asked for at once, and there is no generator state to save.

    A genotype is new if no proposal, pending or finished, has its fingerprint. If `MAX_TRIES` draws give no new
    genotype (the space is nearly exhausted, or a policy has converged), a duplicate is proposed. The caller then
    reports the earlier result as the outcome of the new proposal.

    Args:
        space: search space of the genotypes.
        seed: seed of all random choices.
        initial: genotypes that are proposed first, in order. A genotype with the fingerprint of an earlier one is
            dropped.

    Raises:
        ValueError: if an initial genotype is not in the space; the message has its index and the reason.
    """

    _info_keys: frozenset[str] = frozenset()
    """Keys that every `_info` has; a journal without them cannot be replayed."""

    def __init__(self, space: SearchSpace, *, seed: int = 0, initial: Sequence[Genotype] = ()) -> None:
        self.space = space
        self.seed = seed
        self._initial = _check_initial(space, initial)
        self._fingerprints: list[str] = []
        self._proposed: set[str] = set()
        self._pending: dict[int, Proposal] = {}

    @property
    def num_proposed(self) -> int:
        """Number of proposals made so far. It is also the id of the next one."""
        return len(self._fingerprints)

    @property
    def pending(self) -> tuple[Proposal, ...]:
        """Proposals without an outcome, in the order of their ids."""
        return tuple(self._pending.values())

    @final
    def propose(self, n: int) -> list[Proposal]:
        """Propose the next n genotypes. The proposals stay pending until their outcomes are observed.

        Raises:
            ValueError: if n is negative.
        """
        if n < 0:
            raise ValueError(f"n must be 0 or more, got {n}")
        proposals = []
        for _ in range(n):
            drawn = self._draw()
            genotype, parent = (drawn.genotype, drawn.parent) if isinstance(drawn, Child) else (drawn, None)
            choices = self.space.encode(genotype)
            proposal = Proposal(self.num_proposed, genotype, choices, self._info(choices), parent)
            self._register(proposal)
            proposals.append(proposal)
        return proposals

    @final
    def observe(self, outcomes: Iterable[Outcome]) -> None:
        """Learn from outcomes, which may come in any order and late. A second outcome of a proposal is ignored.

        An outcome may hold a copy of the proposal without `info`; the original proposal with that id counts.

        Raises:
            ValueError: if an outcome belongs to no proposal of this controller, or lacks a number that the algorithm
                needs. Then nothing is learned from any of them.
        """
        outcomes = list(outcomes)
        for outcome in outcomes:
            self._check_known(outcome.proposal)
            self._check_outcome(outcome)
        for outcome in outcomes:
            if (proposal := self._pending.pop(outcome.proposal.id, None)) is not None:
                self._learn(replace(outcome, proposal=proposal))

    @final
    def state_dict(self) -> dict[str, Any]:
        """State as plain data for JSON. A controller that loads it makes the same proposals as this one from then
        on."""
        return {
            **self._identity(),
            "fingerprints": list(self._fingerprints),
            "pending": [
                {"id": p.id, "genotype": p.genotype.to_dict(), "info": dict(p.info), "parent": p.parent}
                for p in self.pending
            ],
            "algorithm": self._state(),
        }

    @final
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load a state into a controller that was constructed with the same arguments. Its own history is dropped.

        Raises:
            ValueError: if the state is of another class, space, seed, list of initial genotypes or format version.
        """
        for key, ours in self._identity().items():
            if state.get(key) != ours:
                raise ValueError(
                    f"the state has {key} = {state.get(key)!r}, this controller has {ours!r}; "
                    "construct it with the same arguments as the saved one"
                )
        pending = {int(item["id"]): self._restored(item) for item in state["pending"]}
        self._load(state["algorithm"])
        self._fingerprints = list(state["fingerprints"])
        self._proposed = set(self._fingerprints)
        self._pending = pending

    @final
    def replay(self, proposals: Iterable[Proposal], outcomes: Iterable[Outcome]) -> None:
        """Recover a fresh controller, constructed with the same arguments, from a journal.

        Args:
            proposals: every proposal ever made, with its `info`, in the order of their ids; those without outcome stay
                pending.
            outcomes: every outcome, in the order in which they were observed.

        Raises:
            ValueError: if this controller has proposed before, an id is missing or out of order, a proposal is not in
                the space, has a parent that is no earlier one or lacks the `info` that this class writes, or an outcome
                belongs to no proposal. Nothing is taken over then.
        """
        if self.num_proposed:
            raise ValueError(f"replay needs a fresh controller, this one has made {self.num_proposed} proposals")
        proposals = list(proposals)
        for expected, proposal in enumerate(proposals):
            if proposal.id != expected:
                raise ValueError(f"replay needs every proposal in order of id: expected {expected}, got {proposal.id}")
            self._check_journal(proposal)
        for proposal in proposals:
            self._register(proposal)
        try:
            self.observe(outcomes)
        except ValueError:
            self._forget()
            raise

    def diagnostics(self) -> dict[str, float]:
        """Finite numbers by name that show the progress of the algorithm. They are for the report; nothing depends on
        them."""
        return {}

    @property
    def has_diagnostics(self) -> bool:
        """True if the algorithm has diagnostics of its own."""
        return type(self).diagnostics is not Controller.diagnostics

    def _is_duplicate(self, genotype: Genotype) -> bool:
        return genotype.fingerprint in self._proposed

    @abstractmethod
    def _next(self, rng: random.Random) -> Genotype | Child:
        """A genotype of the space; called again with the same generator while the result is a duplicate.

        One that was bred from an earlier proposal comes as a `Child`, which names it.

        Must not change the state. May depend on `num_proposed`, on what was proposed, and on what `_learn` kept,
        but not on what is pending or on when proposals were asked for: a replay does not know that.
        """

    def _info(self, choices: Choices) -> dict[str, float]:
        """Numbers to keep with the proposal that is about to be made; `_learn` finds them there, on replay too.

        Must not change the state. May depend on what `_next` may depend on.
        """
        return {}

    def _check_outcome(self, outcome: Outcome) -> None:  # noqa: B027 - most algorithms take every outcome
        """Called for every outcome before the first of them is learned.

        Raises:
            ValueError: if the outcome lacks something that the algorithm needs.
        """

    @abstractmethod
    def _learn(self, outcome: Outcome) -> None:
        """Take in the first outcome of a proposal.

        Must not depend on `num_proposed`, on what was proposed later or on what is pending: on a replay every proposal
        is made before the first outcome.
        """

    @abstractmethod
    def _state(self) -> dict[str, Any]:
        """State that `_learn` keeps, as plain data for JSON; shares no mutable object with the controller."""

    @abstractmethod
    def _load(self, state: Mapping[str, Any]) -> None:
        """Replace what `_learn` kept by what `_state` wrote."""

    def _draw(self) -> Genotype | Child:
        if self.num_proposed < len(self._initial):
            return self._initial[self.num_proposed]
        rng = random.Random(f"{self.seed}:{self.num_proposed}")
        for _ in range(MAX_TRIES):
            drawn = self._next(rng)
            if not self._is_duplicate(drawn.genotype if isinstance(drawn, Child) else drawn):
                break
        return drawn

    def _register(self, proposal: Proposal) -> None:
        self._fingerprints.append(proposal.genotype.fingerprint)
        self._proposed.add(proposal.genotype.fingerprint)
        self._pending[proposal.id] = proposal

    def _forget(self) -> None:
        self._fingerprints.clear()
        self._proposed.clear()
        self._pending.clear()

    def _restored(self, item: Mapping[str, Any]) -> Proposal:
        genotype = Genotype.from_dict(item["genotype"])
        choices = self.space.encode(genotype)
        return Proposal(int(item["id"]), genotype, choices, dict(item["info"]), item.get("parent"))

    def _check_journal(self, proposal: Proposal) -> None:
        try:
            self.space.encode(proposal.genotype)
        except ValueError as error:
            raise ValueError(f"proposal {proposal.id} of the journal is not in the search space: {error}") from error
        if proposal.parent is not None and not 0 <= proposal.parent < proposal.id:
            raise ValueError(
                f"proposal {proposal.id} of the journal has the parent {proposal.parent}, which is not earlier"
            )
        if missing := self._info_keys - set(proposal.info):
            raise ValueError(
                f"proposal {proposal.id} of the journal has no {', '.join(sorted(missing))} in its info; "
                f"was it made by a controller other than {type(self).__name__}?"
            )

    def _check_known(self, proposal: Proposal) -> None:
        if not 0 <= proposal.id < self.num_proposed:
            raise ValueError(f"outcome of proposal {proposal.id}, but only {self.num_proposed} proposals were made")
        if self._fingerprints[proposal.id] != proposal.genotype.fingerprint:
            raise ValueError(
                f"outcome of proposal {proposal.id} has a different genotype from the proposal with that id"
            )

    @cached_property
    def _space_digest(self) -> str:
        return space_digest(self.space)

    def _identity(self) -> dict[str, Any]:
        return {
            "format": FORMAT_VERSION,
            "controller": type(self).__name__,
            "space": self._space_digest,
            "seed": self.seed,
            "initial": [genotype.fingerprint for genotype in self._initial],
        }


def _check_initial(space: SearchSpace, initial: Sequence[Genotype]) -> list[Genotype]:
    """The initial genotypes, each function once."""
    first: dict[str, Genotype] = {}
    for index, genotype in enumerate(initial):
        try:
            space.encode(genotype)
        except ValueError as error:
            raise ValueError(f"initial genotype {index} is not in the search space: {error}") from error
        first.setdefault(genotype.fingerprint, genotype)
    return list(first.values())
