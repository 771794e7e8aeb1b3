"""One trial at a time in a process that stays warm between trials."""

from __future__ import annotations

import gc
import json
import logging
import platform
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import ray
from ray.exceptions import RayTaskError

from nas.proxy.config import ProxyConfig
from nas.proxy.trial import Hooks, Start, Trained, TrialError
from nas.search.config import SearchConfig
from nas.search.constraints import Measured, RejectedError, violations
from nas.search.metrics import plain_metrics
from nas.search.reward import RewardError, reward_of
from nas.search.stopping import RUNG_METRIC
from nas.terminal import shown
from nas.text import MESSAGE_LIMIT
from search_space import Genotype

if TYPE_CHECKING:
    from ray.actor import ActorHandle

    from necks import Neck


_log = logging.getLogger(__name__)


class Task(Protocol):
    """What trains and scores a candidate; made once per worker."""

    def run(self, genotype: Genotype, seed: int, hooks: Hooks) -> Trained:
        """
        Raises:
            TrialError: when this candidate cannot be scored; any other exception is a failed trial, too.
        """
        ...


@runtime_checkable
class Estimating(Protocol):
    """A task that can tell how long a trial will take."""

    def estimate(self) -> float:
        """Seconds, from a few steps of training."""
        ...


MakeTask = Callable[[SearchConfig], Task]


def make_proxy_task(config: SearchConfig) -> Task:
    """The real task; it brings torchvision with it, which takes seconds to import."""
    from nas.proxy.task import ProxyTask

    return ProxyTask(placed_proxy(config), config.data)


def placed_proxy(config: SearchConfig) -> ProxyConfig:
    """The proxy task as its trials run: without a GPU where they ask for none, as Ray hides GPUs only from workers that
    ask for some.
    """
    proxy = config.proxy
    return replace(proxy, device="cpu") if proxy.device == "auto" and config.resources.gpus == 0 else proxy


@dataclass(frozen=True)
class Job:
    """A trial to run.

    Args:
        key: tells its checkpoints from those of any other candidate.
        genotype: as JSON.
        limited: see `TrialHooks`.
        channels, start, keeps_weights: see `Hooks`.
        attempts: workers that it has lost.
    """

    number: int
    key: str
    genotype: str
    limited: bool
    channels: int | None = None
    start: Start | None = None
    keeps_weights: bool = False
    attempts: int = 0


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What became of a trial: `metrics`, or what was measured of one `rejected`, or an `error`.

    Args:
        stopped: whether the metrics are those of a rung at which the training ended.
        neck: files of the exported neck, contents by name.
        inherited, weights: see `Trained`.
    """

    metrics: Mapping[str, Any] | None = None
    rejected: Measured | None = None
    error: str | None = None
    stopped: bool = False
    neck: Mapping[str, bytes] = field(default_factory=dict)
    inherited: bool = False
    weights: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A worker that can run trials, or why it cannot.

    Args:
        estimate: seconds that a trial will take, if asked for and known.
    """

    failure: str | None = None
    estimate: float | None = None


def trial_seed(config: SearchConfig, number: int) -> int:
    """Seed of a trial's training, from the search's seed and the trial's number."""
    return config.seed * 1_000_003 + number


class TrialHooks(Hooks):
    """What the search wants of one trial.

    Args:
        key: see `Job`.
        limited: whether the constraints and the rungs hold for it; they do not for known necks.
        desk: the actor of a `Desk`, needed for rungs and checkpoints only.
        channels, start, keeps_weights: see `Hooks`.
    """

    def __init__(
        self,
        config: SearchConfig,
        number: int,
        key: str,
        limited: bool,
        desk: ActorHandle[Any] | None = None,
        channels: int | None = None,
        start: Start | None = None,
        keeps_weights: bool = False,
    ) -> None:
        self.channels = channels
        self.start = start
        self.keeps_weights = keeps_weights
        self._config = config
        self._number = number
        self._key = key
        self._desk = desk
        self._limited = limited
        self.rungs = config.stopping.rungs if limited and desk is not None else ()
        self.checkpoint_seconds = None if desk is None else config.resources.checkpoint_seconds
        self.rewards: dict[str, float] = {}

    def before_training(self, measured: Measured) -> None:
        plain = plain_metrics(measured)
        if self._limited and violations(self._config.constraints, plain):
            raise RejectedError(plain)

    def stops_at(self, step: int, metrics: Mapping[str, float | None]) -> bool:
        reward = reward_of(self._config.reward, plain_metrics(metrics))
        self.rewards[f"{RUNG_METRIC}{step}"] = reward
        assert self._desk is not None
        return bool(ray.get(self._desk.stops.remote(self._number, step, reward)))

    def load_checkpoint(self) -> bytes | None:
        """As the task saved it; what was scored at rungs before comes back with it."""
        if self._desk is None or self.checkpoint_seconds is None:
            return None
        kept: bytes | None = ray.get(self._desk.load_checkpoint.remote(self._key))
        if kept is None:
            return None
        rewards, _, data = kept.partition(b"\n")
        self.rewards |= json.loads(rewards)
        ray.get(self._desk.remember.remote(self._number, self.rewards))
        return data

    def save_checkpoint(self, data: bytes) -> None:
        """A checkpoint that cannot be kept, on a full disk say, is no reason to fail."""
        assert self._desk is not None
        kept = json.dumps(self.rewards).encode() + b"\n" + data
        try:
            ray.get(self._desk.save_checkpoint.remote(self._key, kept))
        except RayTaskError as error:
            _log.warning("no checkpoint of trial %d could be saved: %s", self._number, error.cause)


def run_trial(task: Task, config: SearchConfig, number: int, genotype: Genotype, hooks: TrialHooks) -> Reply:
    """Train and score; an error of the candidate comes back as a reply, so that nobody tries it again.

    Raises:
        torch.AcceleratorError, OSError: when it is this process or its machine that can no longer run trials.
    """

    def train() -> Reply:
        start = time.perf_counter()
        trained = task.run(genotype, trial_seed(config, number), hooks)
        metrics = plain_metrics(trained.metrics)
        reward_of(config.reward, metrics)
        files = {} if trained.neck is None else _files(trained.neck)
        metrics = {**metrics, **hooks.rewards, "seconds": time.perf_counter() - start}
        return Reply(
            metrics=metrics,
            stopped=trained.stopped_at is not None,
            neck=files,
            inherited=trained.inherited,
            weights=trained.weights,
        )

    try:
        return guarded(train, f"trial {number}")
    except RejectedError as rejection:
        return Reply(rejected=rejection.measured)


def guarded(train: Callable[[], Reply], name: str) -> Reply:
    """What a training replies, or that it failed.

    Args:
        name: of the training, for the log.

    Raises:
        RejectedError: as `train` does.
        torch.AcceleratorError, OSError: see `run_trial`.
    """
    _free_gpu()
    try:
        return train()
    except RejectedError:
        raise
    except (TrialError, RewardError) as error:
        return Reply(error=shown(str(error), MESSAGE_LIMIT))
    except Exception as error:
        if isinstance(error, OSError) or _gpu_is_broken(error):
            raise  # another process has to try again
        _log.exception("%s failed", name)
        return Reply(error=_described(error))


class Worker:
    """A process that makes the task once and then runs trials.

    Args:
        config: of the search.
        make_task: a module-level function.
        desk: see `TrialHooks`.
    """

    def __init__(self, config: SearchConfig, make_task: MakeTask, desk: ActorHandle[Any] | None) -> None:
        self._config = config
        self._make_task = make_task
        self._desk = desk
        self._task: Task | None = None

    def prepare(self, *, estimate: bool) -> Ready:
        """Make the task.

        Args:
            estimate: whether to find out how long a trial will take, if the task can tell.
        """
        try:
            self._task = self._make_task(self._config)
            seconds = self._task.estimate() if estimate and isinstance(self._task, Estimating) else None
        except Exception as error:
            _log.exception("the task could not be set up on %s", platform.node())
            return Ready(failure=shown(f"{type(error).__name__}: {error}", MESSAGE_LIMIT))
        return Ready(estimate=seconds)

    def run(self, job: Job) -> Reply:
        """See `run_trial`."""
        assert self._task is not None
        hooks = TrialHooks(
            self._config,
            job.number,
            job.key,
            job.limited,
            self._desk,
            channels=job.channels,
            start=job.start,
            keeps_weights=job.keeps_weights,
        )
        return run_trial(self._task, self._config, job.number, Genotype.from_json(job.genotype), hooks)


def _files(neck: Neck) -> dict[str, bytes]:
    from necks import save_exported

    with TemporaryDirectory() as directory:
        save_exported(neck, directory)
        return {path.name: path.read_bytes() for path in Path(directory).iterdir()}


def _described(error: Exception) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    return shown(f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})", MESSAGE_LIMIT)


def _gpu_is_broken(error: Exception) -> bool:
    """Torch is not imported here: a task without it need not wait for it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(error, torch.AcceleratorError)


def _free_gpu() -> None:
    """Give back what the trial before left on the GPU, after an out-of-memory error above all."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()
