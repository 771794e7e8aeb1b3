"""Confirmation: the best found and the best known necks are trained again, with fresh seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass as plain_dataclass
from functools import lru_cache
from itertools import chain, zip_longest
from typing import Self

import numpy as np
from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from nas.bounds import MAX_TRIALS, Int
from nas.search.posterior import Array, Rewards, independent_draws, noise_draws, related_draws
from nas.search.records import Trial
from nas.search.standings import SEARCH_ORIGINS, found, known_necks, ranked

FIRST_ROUNDS = 2
"""Number of rounds in which all contenders take part. One training each would not show the noise."""

OUT_OF_CONTENTION = 0.05
"""Smallest probability of being the best of its group with which a contender is trained further."""

INTERVAL = (2.5, 97.5)
"""Percentiles of the 95 % intervals."""

CERTAIN = 0.95
"""Smallest probability with which a search claims that a neck beats the known ones."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ConfirmConfig:
    """Settings of the confirmation of a search's answer.

    One training is noisy, and the best score among many is mostly luck. After the trials, the best found necks and the
    best known ones are trained again in rounds, each time with another seed. All of them take part in the first two
    rounds. Later rounds take only those that may still be the best of their group, until `trainings` are done.
    """

    trainings: Int = Field(default=16, ge=0, le=MAX_TRIALS)
    """Number of trainings of all contenders together; 0: no confirmation, and the answer is the neck with the best
    observed reward."""

    found: Int = Field(default=6, ge=1, le=MAX_TRIALS)
    """Number of found necks that take part: those with the best observed rewards."""

    known: Int = Field(default=2, ge=1, le=MAX_TRIALS)
    """Number of known necks that take part: those with the best observed rewards."""

    @model_validator(mode="after")
    def _enough(self) -> Self:
        fewest = FIRST_ROUNDS * (self.found + self.known)
        if 0 < self.trainings < fewest:
            raise ValueError(
                f"{self.found} found and {self.known} known necks take {fewest} trainings or more, two each; raise "
                f"confirm.trainings, got {self.trainings}, lower confirm.found, or set confirm.trainings=0 for no "
                "confirmation"
            )
        return self


@plain_dataclass(frozen=True)
class Standing:
    """Result of a contender in the confirmation.

    Args:
        trial: trial of the search whose neck was trained again.
        rewards: rewards of its trainings from scratch, with fresh seeds.
        mean: posterior mean of its true reward; those of found necks are shrunk towards their common mean.
        low, high: bounds of the 95 % interval.
    """

    trial: Trial
    rewards: tuple[float, ...]
    mean: float
    low: float
    high: float


@plain_dataclass(frozen=True)
class Verdict:
    """Confirmed answer of a search.

    Args:
        best_found, best_known: contenders with the highest posterior mean of their groups.
        probability: probability that the true reward of the best found neck exceeds that of every known contender.
        gain: mean of the difference to the best known neck; `gain_low` and `gain_high` are its 95 % interval.
        standings: results of all contenders, best first.
    """

    best_found: Standing
    best_known: Standing
    probability: float
    gain: float
    gain_low: float
    gain_high: float
    standings: tuple[Standing, ...]

    @property
    def trainings(self) -> int:
        """Number of trainings of all contenders."""
        return sum(len(standing.rewards) for standing in self.standings)

    @property
    def is_better(self) -> bool:
        """True if the best found neck beats the known ones with a probability of `CERTAIN` or more."""
        return self.probability >= CERTAIN


class Confirmation:
    """State of a confirmation, computed from the journal alone: remaining trainings, and the answer.

    Args:
        trials: trials of the journal; all trials of the search have finished.
    """

    def __init__(self, config: ConfirmConfig, trials: Sequence[Trial]) -> None:
        new = [trial for origin in SEARCH_ORIGINS for trial in found(trials, origin) if trial.copied_from is None]
        self._budget = config.trainings
        self._found = ranked(new, config.found)
        self._known = ranked(known_necks(trials), config.known)
        self._trained: dict[int, list[Trial]] = {trial.number: [] for trial in (*self._found, *self._known)}
        for trial in trials:
            if trial.candidate.confirms in self._trained:
                self._trained[trial.candidate.confirms].append(trial)

    @property
    def left(self) -> int:
        """Number of trainings that have not finished; 0 if no found neck or no known neck can be trained."""
        if not self._able(self._found) or not self._able(self._known):
            return 0
        finished = sum(trial.state != "running" for trials in self._trained.values() for trial in trials)
        return max(0, self._total - finished)

    def next(self) -> Trial | None:
        """Trial whose neck is to be trained again next; None at the end, or while a round has to finish first."""
        begun = sum(map(len, self._trained.values()))
        if not self.left or begun >= self._total:
            return None
        return min(self._waiting(), key=lambda trial: len(self._trained[trial.number]), default=None)

    def verdict(self) -> Verdict | None:
        """Answer so far; None before the first rounds are over, or if there is no found or no known neck to compare."""
        found_necks, known = self._able(self._found), self._able(self._known)
        if not found_necks or not known or any(len(self._rewards(t)) < FIRST_ROUNDS for t in (*found_necks, *known)):
            return None
        found_draws, known_draws = self._draws(found_necks, known)
        gain = found_draws[:, int(found_draws.mean(axis=0).argmax())] - known_draws.max(axis=1)
        gain_low, gain_high = np.percentile(gain, INTERVAL)
        new, old = self._standings(found_necks, found_draws), self._standings(known, known_draws)
        return Verdict(
            best_found=new[0],
            best_known=old[0],
            probability=float((gain > 0).mean()),
            gain=float(gain.mean()),
            gain_low=float(gain_low),
            gain_high=float(gain_high),
            standings=tuple(sorted((*new, *old), key=lambda standing: -standing.mean)),
        )

    @property
    def _total(self) -> int:
        """Number of trainings in all: the budget, or more if an extension adds contenders after it is spent."""
        if not self._budget:
            return 0
        first_rounds = dict.fromkeys((trial.number for trial in self._able([*self._found, *self._known])), FIRST_ROUNDS)
        needed = sum(max(len(begun), first_rounds.get(number, 0)) for number, begun in self._trained.items())
        return max(self._budget, needed)

    def _waiting(self) -> list[Trial]:
        """Contenders that have not begun their training in the current round, found and known ones in turn."""
        groups = [self._able(self._found), self._able(self._known)]
        size = FIRST_ROUNDS
        while all(len(self._rewards(trial)) >= size for trial in chain(*groups)):
            groups = self._in_contention(groups, size)
            size += 1
        in_turn = [trial for trial in chain(*zip_longest(*groups)) if trial is not None]
        return [trial for trial in in_turn if len(self._trained[trial.number]) < size]

    def _in_contention(self, groups: list[list[Trial]], size: int) -> list[list[Trial]]:
        """Contenders that may be the best of their group, judged by the first `size` trainings of each."""
        everyone = (self._able(self._found), self._able(self._known))
        left = []
        for trials, able, draws in zip(groups, everyone, self._draws(*everyone, size), strict=True):
            columns = [able.index(trial) for trial in trials]
            wins = np.bincount(draws[:, columns].argmax(axis=1), minlength=len(trials)) / len(draws)
            left.append([trial for trial, share in zip(trials, wins, strict=True) if share >= OUT_OF_CONTENTION])
        return left

    def _draws(self, found_necks: list[Trial], known: list[Trial], size: int | None = None) -> tuple[Array, Array]:
        return _drawn(*(tuple(self._rewards(trial)[:size] for trial in group) for group in (found_necks, known)))

    def _standings(self, trials: list[Trial], draws: Array) -> list[Standing]:
        """Results of the trials, best first."""
        low, high = np.percentile(draws, INTERVAL, axis=0)
        standings = [
            Standing(trial, self._rewards(trial), float(mean), float(bottom), float(top))
            for trial, mean, bottom, top in zip(trials, draws.mean(axis=0), low, high, strict=True)
        ]
        return sorted(standings, key=lambda standing: -standing.mean)

    def _able(self, contenders: list[Trial]) -> list[Trial]:
        """Contenders without a failed training."""
        return [t for t in contenders if all(trial.state != "failed" for trial in self._trained[t.number])]

    def _rewards(self, contender: Trial) -> tuple[float, ...]:
        """Rewards of a contender's finished trainings, in the order in which they were begun."""
        return tuple(trial.reward for trial in self._trained[contender.number] if trial.reward is not None)


def trials_left(total: int, config: ConfirmConfig, trials: Sequence[Trial]) -> int:
    """Number of trials that a search has not finished, including its confirmation.

    Args:
        total: number of trials of the search before its confirmation.
    """
    others = [trial for trial in trials if trial.candidate.is_candidate and not trial.rejected]
    finished = sum(trial.state != "running" for trial in others)
    controls = sum(trial.state == "running" and trial.candidate.kind == "control" for trial in trials)
    if left := max(total, len(others)) - finished:
        return left + controls + config.trainings
    return controls + Confirmation(config, trials).left


@lru_cache(maxsize=64)
def _drawn(
    found_rewards: tuple[tuple[float, ...], ...], known_rewards: tuple[tuple[float, ...], ...]
) -> tuple[Array, Array]:
    """(D, F) and (D, K) draws of true rewards. Found necks share one population; known necks are independent."""
    new, old = Rewards(found_rewards), Rewards(known_rewards)
    rng = np.random.default_rng(0)
    noise = noise_draws((new, old), rng)
    return related_draws(new, noise, rng), independent_draws(old, noise, rng)
