"""Confirmation: finalists and the best known necks trained again, with seeds that chose nobody."""

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
"""Rounds that every contender takes part in: with one training each the noise is not known."""

OUT_OF_CONTENTION = 0.05
"""A contender that is the best of its group with a lower probability than this is trained no further."""

INTERVAL = (2.5, 97.5)
"""Percentiles of the intervals that are stated."""

CERTAIN = 0.95
"""Probability from which on a neck is said to beat the known ones."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ConfirmConfig:
    """How the answer of a search is confirmed.

    One training is noisy, and the best observed of many is mostly luck. After the trials the best found necks and the
    best known ones are trained again, each time with another seed, in rounds: all take part in the first two, then
    those that may still be the best of their group, until `trainings` is spent.
    """

    trainings: Int = Field(default=16, ge=0, le=MAX_TRIALS)
    """Trainings for all contenders together; 0: nothing is confirmed, and the best observed is the answer."""

    found: Int = Field(default=6, ge=1, le=MAX_TRIALS)
    """Contenders among the found necks, the best by observed reward."""

    known: Int = Field(default=2, ge=1, le=MAX_TRIALS)
    """Contenders among the known necks, likewise."""

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
    """A contender after its confirmation.

    Args:
        trial: that it was chosen for.
        rewards: of its trainings from nothing, with fresh seeds.
        mean: of the posterior of its true reward; that of found necks leans towards their common mean.
        low, high: the 95 % interval.
    """

    trial: Trial
    rewards: tuple[float, ...]
    mean: float
    low: float
    high: float


@plain_dataclass(frozen=True)
class Verdict:
    """The answer of a search.

    Args:
        best_found, best_known: highest posterior mean of their groups.
        probability: that the best found has a higher true reward than every known contender.
        gain: by how much, on average; `gain_low` and `gain_high` are its 95 % interval.
        standings: of all contenders, best first.
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
        """Trainings that this rests on."""
        return sum(len(standing.rewards) for standing in self.standings)

    @property
    def is_better(self) -> bool:
        """True if the found neck beats the known ones with a probability of `CERTAIN` or more."""
        return self.probability >= CERTAIN


class Confirmation:
    """Trainings that the answer of a search still needs, and the answer; worked out from the journal alone.

    Args:
        trials: of the journal; those of the search are all finished.
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
        """Trainings that have yet to finish; 0 where no found or no known neck can be trained."""
        if not self._able(self._found) or not self._able(self._known):
            return 0
        finished = sum(trial.state != "running" for trials in self._trained.values() for trial in trials)
        return max(0, self._budget - finished)

    def next(self) -> Trial | None:
        """The trial whose neck is to be trained again now; None at the end, and while a round has to be waited for."""
        begun = sum(map(len, self._trained.values()))
        if not self.left or begun >= self._budget:
            return None
        return min(self._waiting(), key=lambda trial: len(self._trained[trial.number]), default=None)

    def verdict(self) -> Verdict | None:
        """None until the rounds that all take part in are over, and where there is nobody to compare."""
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

    def _waiting(self) -> list[Trial]:
        """Contenders that have not begun their training of the present round, found and known ones in turn."""
        groups = [self._able(self._found), self._able(self._known)]
        size = FIRST_ROUNDS
        while all(len(self._rewards(trial)) >= size for trial in chain(*groups)):
            groups = self._in_contention(groups, size)
            size += 1
        in_turn = [trial for trial in chain(*zip_longest(*groups)) if trial is not None]
        return [trial for trial in in_turn if len(self._trained[trial.number]) < size]

    def _in_contention(self, groups: list[list[Trial]], size: int) -> list[list[Trial]]:
        """Those who may be the best of their group by the first `size` trainings of each contender."""
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
        """Best first."""
        low, high = np.percentile(draws, INTERVAL, axis=0)
        standings = [
            Standing(trial, self._rewards(trial), float(mean), float(bottom), float(top))
            for trial, mean, bottom, top in zip(trials, draws.mean(axis=0), low, high, strict=True)
        ]
        return sorted(standings, key=lambda standing: -standing.mean)

    def _able(self, contenders: list[Trial]) -> list[Trial]:
        """Contenders of which no training failed."""
        return [t for t in contenders if all(trial.state != "failed" for trial in self._trained[t.number])]

    def _rewards(self, contender: Trial) -> tuple[float, ...]:
        """Of its finished trainings, in the order in which they were begun."""
        return tuple(trial.reward for trial in self._trained[contender.number] if trial.reward is not None)


def trials_left(total: int, config: ConfirmConfig, trials: Sequence[Trial]) -> int:
    """Trials that a search has yet to finish, its confirmation included.

    Args:
        total: trials of the search before its confirmation.
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
    """(D, F) and (D, K) draws of true rewards: found necks are of one population, known ones speak for themselves."""
    new, old = Rewards(found_rewards), Rewards(known_rewards)
    rng = np.random.default_rng(0)
    noise = noise_draws((new, old), rng)
    return related_draws(new, noise, rng), independent_draws(old, noise, rng)
