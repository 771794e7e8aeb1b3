"""Inheritance: a child starts from its parent's trained weights; controls measure the gain by longer training alone."""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable
from dataclasses import dataclass as plain_dataclass
from statistics import fmean
from typing import Any

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from nas.bounds import MAX_STEPS, MAX_TRIALS, Float, Int
from nas.search.records import CONTROL_PREFIX, Candidate, Trial

_log = logging.getLogger(__name__)

INHERITED_FROM, DEPTH, DRIFT, RAW_REWARD = "inherited_from", "depth", "drift", "reward_inherited"
"""Metrics of a child: the trial whose weights it started from, its number of trainings since one from scratch, the
drift that was subtracted from its reward, and the reward as measured. A child that could not inherit has only depth
0."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class InheritConfig:
    """Settings of inheritance, for controllers that name the parent of a candidate.

    A child starts from the weights of its parent wherever their cells match, and is trained for a few steps. The necks
    of a lineage gain merely by longer training. So the root of each lineage, its first neck, is trained further without
    a change, as many times as its descendants were. These trainings are its controls. The mean gain of the controls
    at a depth over their roots is subtracted from the rewards at that depth.
    """

    steps: Int | None = Field(default=None, ge=0, le=MAX_STEPS)
    """Training steps of a child; None or 0: every candidate is trained from scratch."""

    lr: Float = Field(default=0.5, gt=0, le=10)
    """Learning rate of a child's training, as a share of the proxy task's. After a warm-up over a tenth of the steps it
    follows the schedule of the proxy task."""

    keep: Int = Field(default=50, ge=1, le=MAX_TRIALS)
    """Number of latest finished candidates whose weights are kept for children. Known necks, roots and their latest
    controls always keep theirs. A child whose parent's weights are gone is trained from scratch."""

    @property
    def is_on(self) -> bool:
        """True if children start from their parents' weights."""
        return bool(self.steps)


@plain_dataclass(frozen=True)
class Inheritance:
    """Start of a training from inherited weights.

    Args:
        source: number of the trial whose weights the training starts from.
        root: number of the trial that began the lineage, which was trained from scratch.
        depth: number of trainings after the root, this one included.
    """

    source: int
    root: int
    depth: int


class Lineages:
    """Lineages of a search, computed from the journal alone: parents of children, the controls they need, the drift.

    Args:
        kept: numbers of the trials whose weights are kept.
        trials: trials of the journal so far.
    """

    def __init__(self, config: InheritConfig, kept: Container[int], trials: Iterable[Trial]) -> None:
        self._is_on = config.is_on
        self._keep = config.keep
        self._kept = kept
        self._finished: dict[int, Trial] = {}
        self._candidates: dict[int, Candidate] = {}
        self._proposed: dict[tuple[str, int], int] = {}
        self._controls: dict[int, list[int]] = {}
        self._wanted: dict[int, int] = {}
        self._begun: dict[int, Inheritance] = {}
        self._warned = False
        trials = list(trials)
        for trial in trials:
            self.add(trial.number, trial.candidate)
        for trial in sorted((t for t in trials if t.order is not None), key=lambda trial: trial.order or 0):
            self.finish(trial)
        for trial in self._finished.values():
            self._want_again(trial)

    def add(self, number: int, candidate: Candidate) -> None:
        """Record a candidate that was added to the journal."""
        if not self._is_on:
            return
        self._candidates[number] = candidate
        if candidate.proposal is not None:
            self._proposed[candidate.origin, candidate.proposal] = number
        if candidate.controls is not None:
            self._controls.setdefault(candidate.controls[0], []).append(number)

    def finish(self, trial: Trial) -> None:
        """Record a finished trial."""
        if self._is_on:
            self._finished[trial.number] = trial
            self._begun.pop(trial.number, None)

    def of(self, number: int) -> Inheritance | None:
        """Start of a trial that has not begun; None: from scratch."""
        if not self._is_on:
            return None
        candidate = self._candidates[number]
        if candidate.controls is not None:
            root, depth = candidate.controls
            return Inheritance(root if depth == 1 else self._controls[root][depth - 2], root, depth)
        source = self._source(candidate)
        if source is None or not self._has_weights(source.number):
            return None
        return self._after(source)

    def waits(self, number: int) -> bool:
        """True if a trial has to wait: for its parent, or for the control of its depth."""
        parent = self._parent(self._candidates[number]) if self._is_on else None
        if parent is None:
            return False
        if parent not in self._finished:
            return True
        if (inheritance := self.of(number)) is None:
            return False
        self._want(inheritance.root, inheritance.depth)
        return not self._is_controlled(inheritance.root, inheritance.depth)

    def begin(self, number: int) -> None:
        """Record that a trial begins. Its children will need a control."""
        if (inheritance := self.of(number)) is not None:
            self._begun[number] = inheritance
            if self._candidates[number].controls is None:
                self._want(inheritance.root, inheritance.depth + 1)

    def begun(self, number: int) -> Inheritance | None:
        """Start of a running trial; None: from scratch."""
        return self._begun.get(number)

    def next_control(self, *, ahead: bool) -> Candidate | None:
        """Control that can be trained now; None if there is none.

        Args:
            ahead: True to include controls for children that do not exist yet.
        """
        for root, wanted in self._wanted.items():
            line = self._controls.get(root, [])
            if len(line) >= wanted or not all(self._is_scored(number) for number in line):
                continue
            if ahead or self._is_waited_for(root, len(line) + 1):
                origin = f"{CONTROL_PREFIX}{root}:{len(line) + 1}"
                neck = self._candidates[root]
                return Candidate(origin=origin, genotype=neck.genotype, channels=neck.channels)
        return None

    def drift(self, depth: int) -> float:
        """Mean gain of controls over their roots at a depth, or at the next smaller depth that has controls."""
        for at in range(depth, 0, -1):
            gains = [
                (self._finished[line[at - 1]].reward or 0.0) - (self._finished[root].reward or 0.0)
                for root, line in self._controls.items()
                if len(line) >= at and self._is_scored(line[at - 1])
            ]
            if gains:
                return fmean(gains)
        return 0.0

    def settled(self, number: int, reward: float, *, inherited: bool) -> tuple[float, dict[str, Any]]:
        """Reward of a trial after the drift is subtracted, and the metrics that explain it.

        Args:
            reward: reward as measured.
            inherited: True if the training really started from the intended weights.
        """
        if not self._is_on:
            return reward, {}
        candidate, inheritance = self._candidates[number], self._begun.get(number)
        if inheritance is None or not inherited:
            return reward, {} if candidate.parent is None else {DEPTH: 0}
        facts = {INHERITED_FROM: inheritance.source, DEPTH: inheritance.depth}
        if candidate.controls is not None:
            return reward, facts
        drift = self.drift(inheritance.depth)
        return reward - drift, {**facts, DRIFT: drift, RAW_REWARD: reward}

    def needed(self) -> set[int]:
        """Trials whose weights somebody may yet start from."""
        latest: dict[int, None] = {}
        needed = set(self._wanted)
        for trial in self._finished.values():
            source = trial.number if trial.copied_from is None else trial.copied_from
            if trial.state != "complete":
                continue
            if trial.candidate.is_known:
                needed.add(source)
            elif trial.candidate.kind == "proposed":
                latest.pop(source, None)
                latest[source] = None
        for waiting in self._candidates.keys() - self._finished.keys():
            if (parent := self._source(self._candidates[waiting])) is not None:
                needed.add(parent.number)
        lines = [[number for number in line if self._is_scored(number)] for line in self._controls.values()]
        return needed | set(list(latest)[-self._keep :]) | {line[-1] for line in lines if line}

    def _want_again(self, trial: Trial) -> None:
        """Ask again for the control that the children of a trial from before this start need."""
        if trial.copied_from is not None or trial.rejected or trial.candidate.controls is not None:
            return
        if (source := self._source(trial.candidate)) is not None and trial.metrics.get(DEPTH) != 0:
            inheritance = self._after(source)
            self._want(inheritance.root, inheritance.depth + 1)

    def _want(self, root: int, depth: int) -> None:
        self._wanted[root] = max(depth, self._wanted.get(root, 0))

    def _parent(self, candidate: Candidate) -> int | None:
        """Number of the trial from which a candidate was bred."""
        return None if candidate.parent is None else self._proposed.get((candidate.origin, candidate.parent))

    def _source(self, candidate: Candidate) -> Trial | None:
        """Trial whose weights a candidate inherits from its parent; None if it has none or the parent failed."""
        parent = self._finished.get(-1 if (number := self._parent(candidate)) is None else number)
        if parent is not None and parent.copied_from is not None:
            parent = self._finished[parent.copied_from]
        return parent if parent is not None and parent.state == "complete" else None

    def _after(self, source: Trial) -> Inheritance:
        root = source
        while (earlier := root.metrics.get(INHERITED_FROM)) is not None:
            root = self._finished[int(earlier)]
        depth = 0 if root is source else int(source.metrics.get(DEPTH) or 0)
        return Inheritance(source.number, root.number, depth + 1)

    def _has_weights(self, number: int) -> bool:
        if number in self._kept:
            return True
        if not self._warned:
            _log.warning(
                "the weights of trial %d are missing or damaged; children of such trials are trained in full", number
            )
            self._warned = True
        return False

    def _is_scored(self, number: int) -> bool:
        return number in self._finished and self._finished[number].state == "complete"

    def _is_controlled(self, root: int, depth: int) -> bool:
        """True if the control of a depth has finished, or will never exist."""
        line = self._controls.get(root, [])
        failed = any(number in self._finished and not self._is_scored(number) for number in line)
        return failed or (len(line) >= depth and self._is_scored(line[depth - 1]))

    def _is_waited_for(self, root: int, depth: int) -> bool:
        waiting = (self._source(self._candidates[n]) for n in self._candidates.keys() - self._finished.keys())
        lines = [self._after(source) for source in waiting if source is not None]
        return any(each.root == root and each.depth >= depth for each in lines)
