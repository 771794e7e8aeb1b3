"""One trial from its request to its answer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from nas.engine.callbacks import SearchCallbacks
from nas.engine.task import Task
from nas.proxy.trial import Start, TrialError
from nas.search.config import SearchConfig
from nas.search.constraints import Measured, RejectedError
from nas.search.metrics import plain_metrics
from nas.search.records import Candidate
from nas.search.reward import RewardError, reward_of
from nas.workers.answers import Failed
from nas.workers.guarded import guarded

if TYPE_CHECKING:
    from necks import Neck


@dataclass(frozen=True, kw_only=True)
class TrialRequest:
    """A trial to run.

    Args:
        seed: of its training.
        start, keeps_weights: see `TrialCallbacks`.
    """

    number: int
    candidate: Candidate
    seed: int
    start: Start | None = None
    keeps_weights: bool = False

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


def run_trial(task: Task, config: SearchConfig, request: TrialRequest, hooks: SearchCallbacks) -> Answer:
    """Train and score; an error of the candidate comes back as an answer, so that nobody tries it again.

    Raises:
        torch.AcceleratorError, OSError: when it is this process or its machine that can no longer run trials.
    """

    def train() -> Scored | Rejected:
        start = time.perf_counter()
        try:
            trained = task.run(request.candidate.genotype, request.seed, hooks)
        except RejectedError as rejection:
            return Rejected(rejection.measured)
        metrics = plain_metrics(trained.metrics)
        reward_of(config.reward, metrics)
        files = {} if trained.neck is None else _files(trained.neck)
        return Scored(
            metrics={**metrics, **hooks.rewards, "seconds": time.perf_counter() - start},
            stopped=trained.stopped_at is not None,
            neck=files,
            inherited=trained.inherited,
            weights=trained.weights,
        )

    return guarded(train, str(request), expected=(TrialError, RewardError))


def _files(neck: Neck) -> dict[str, bytes]:
    from necks import save_exported

    with TemporaryDirectory() as directory:
        save_exported(neck, directory)
        return {path.name: path.read_bytes() for path in Path(directory).iterdir()}
