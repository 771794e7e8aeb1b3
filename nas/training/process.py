"""Function that Ray Train runs in each process, and the news that the processes report."""

from __future__ import annotations

import tempfile
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
from ray.exceptions import RayError
from ray.train.torch import get_device

from nas.data.coco import open_splits
from nas.data.read_ahead import own_message
from nas.detection.saved import DetectorSpec
from nas.errors import UserError, first_line
from nas.training.config import TrainConfig
from nas.training.trainer import Look, Place, Trainer
from search_space.references import look_in, trust

TELL_SECONDS = 0.5


@dataclass(frozen=True)
class Failure:
    """An error that no further attempt mends.

    Args:
        traceback: empty for what users can mend by what the message says.
    """

    message: str
    traceback: str = ""


class News:
    """An actor between the first process and whoever shows how the training gets on."""

    def __init__(self) -> None:
        self._look: Look | None = None
        self._epochs: list[dict[str, float]] = []
        self._failure: Failure | None = None

    def look(self, look: Look) -> None:
        self._look = look

    def epochs(self, history: list[dict[str, float]]) -> None:
        self._epochs = history

    def fail(self, failure: Failure) -> None:
        """The training cannot go on, and trying again is of no use; the first process to say so is heard."""
        self._failure = self._failure or failure

    def failure(self) -> Failure | None:
        return self._failure

    def latest(self) -> tuple[Look | None, list[dict[str, float]]]:
        """The last look at the loss, and all epochs that are over."""
        return self._look, self._epochs


def train_process(job: Mapping[str, Any]) -> None:
    """Train from the last checkpoint, or from the start, to the end; a checkpoint after every epoch.

    Args:
        job: `config`, `spec` and `news`, the actor; `directory`, in which the training was started, and `code`, what
            is trusted of it.
    """
    look_in(job["directory"])
    trust(job["code"])
    news = job["news"]
    if ray.get(news.failure.remote()) is not None:
        return
    context = ray.train.get_context()
    place = Place(context.get_world_rank(), context.get_world_size(), get_device())
    try:
        _train(job["config"], job["spec"], place, news)
    except Exception as error:
        if _may_be_mended(error):
            raise
        ray.get(news.fail.remote(_failure(error)))
        if place.world > 1:
            raise  # the other processes wait for this one, and end only with its error


def _train(config: TrainConfig, spec: DetectorSpec, place: Place, news: Any) -> None:
    trainer = Trainer(config, spec, open_splits(config.data), place, _Teller(news, place.rank))
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as directory:
            trainer.load(Path(directory))
    if place.rank == 0:
        ray.get(news.epochs.remote(trainer.history))
    while trainer.epoch < config.epochs:
        trainer.train_epoch()
        if trainer.due:
            trainer.score()
        _report(trainer, place)
        if place.rank == 0:
            ray.get(news.epochs.remote(trainer.history))


def _report(trainer: Trainer, place: Place) -> None:
    """A checkpoint of the first process; the others wait until it is stored."""
    if place.rank:
        ray.train.report({})
        return
    with tempfile.TemporaryDirectory() as directory:
        trainer.save(Path(directory))
        name = f"epoch_{trainer.epoch:04d}"
        found = ray.train.Checkpoint.from_directory(directory)
        ray.train.report(trainer.history[-1], checkpoint=found, checkpoint_dir_name=name)


class _Teller:
    """Passes on looks of the first process, now and then."""

    def __init__(self, news: Any, rank: int) -> None:
        self._news = news
        self._silent = rank > 0
        self._last = 0.0

    def __call__(self, look: Look) -> None:
        now = time.monotonic()
        if not self._silent and now - self._last > TELL_SECONDS:
            self._last = now
            self._news.look.remote(look)


def _may_be_mended(error: Exception) -> bool:
    """True if another attempt, perhaps on another machine, may do better: a lost process, device, disk or network."""
    lost = (OSError, RayError, torch.distributed.DistError, torch.AcceleratorError)
    return isinstance(error, lost) or (isinstance(error, RuntimeError) and "gloo" in str(error))


def _failure(error: Exception) -> Failure:
    if isinstance(error, UserError):
        return Failure(own_message(error))
    message = f"the training failed: {type(error).__name__}: {first_line(error)}"
    return Failure(message, "".join(traceback.format_exception(error)))


def gpus_in_cluster() -> float:
    """How many Ray knows of."""
    return float(ray.cluster_resources().get("GPU", 0)) if ray.is_initialized() else float(torch.cuda.device_count())
