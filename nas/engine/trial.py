"""Records of a trial between the engine and its workers: a request, then one of scored, rejected or failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nas.proxy.trial import Start
from nas.search.config import SearchConfig
from nas.search.constraints import Measured
from nas.search.records import Candidate
from nas.workers.answers import Failed


@dataclass(frozen=True, kw_only=True)
class TrialRequest:
    """A trial to run.

    Args:
        seed: of its training.
        start, keeps_weights: see `TrialCallbacks`.
        code: merges of the genotype by reference that the driver trusts.
    """

    number: int
    candidate: Candidate
    seed: int
    start: Start | None = None
    keeps_weights: bool = False
    code: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"trial {self.number}"

    @property
    def key(self) -> str:
        """Tells its checkpoints from those of any other candidate."""
        return f"{self.number:04d}-{self.candidate.genotype.fingerprint}"


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A trial that was trained and scored.

    Args:
        stopped: whether the metrics are those of a rung at which the training ended.
        neck: files of the exported neck, contents by name.
        inherited, weights: see `Trained`.
    """

    metrics: Mapping[str, Any]
    stopped: bool = False
    neck: Mapping[str, bytes] = field(default_factory=dict)
    inherited: bool = False
    weights: bytes | None = None


@dataclass(frozen=True)
class Rejected:
    """A trial that was not trained, since what was measured of its neck is over a limit."""

    measured: Measured


Answer = Scored | Rejected | Failed


def trial_seed(config: SearchConfig, number: int) -> int:
    """Seed of a trial's training, from the search's seed and the trial's number."""
    return config.seed * 1_000_003 + number
