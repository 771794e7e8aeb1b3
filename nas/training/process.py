"""What Ray Train runs in each process, and what the processes tell the one that was started."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
from ray.train.torch import get_device

from nas.data.coco import open_splits
from nas.detection.saved import DetectorSpec
from nas.errors import UserError
from nas.training.config import TrainConfig
from nas.training.trainer import Look, Place, Trainer

TELL_SECONDS = 0.5


class News:
    """An actor between the first process and whoever shows how the training gets on."""

    def __init__(self) -> None:
        self._look: Look | None = None
        self._epochs: list[dict[str, float]] = []
        self._failure: str | None = None

    def look(self, look: Look) -> None:
        self._look = look

    def epochs(self, history: list[dict[str, float]]) -> None:
        self._epochs = history

    def fail(self, message: str) -> None:
        """The training cannot go on, and trying again is of no use."""
        self._failure = self._failure or message

    def failure(self) -> str | None:
        return self._failure

    def latest(self) -> tuple[Look | None, list[dict[str, float]]]:
        """The last look at the loss, and all epochs that are over."""
        return self._look, self._epochs


def train_process(job: Mapping[str, Any]) -> None:
    """Train from the last checkpoint, or from the start, to the end; a checkpoint after every epoch.

    Args:
        job: `config`, `spec` and `news`, the actor.
    """
    news = job["news"]
    if ray.get(news.failure.remote()) is not None:
        return
    context = ray.train.get_context()
    place = Place(context.get_world_rank(), context.get_world_size(), get_device())
    try:
        _train(job["config"], job["spec"], place, news)
    except UserError as error:
        ray.get(news.fail.remote(_told(error)))
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


def _told(error: UserError) -> str:
    """What it says; an error of a process that loads images comes with that process's traceback before it."""
    return str(error).strip().rpartition(f"{type(error).__name__}: ")[2]


def gpus_in_cluster() -> float:
    """How many Ray knows of."""
    return float(ray.cluster_resources().get("GPU", 0)) if ray.is_initialized() else float(torch.cuda.device_count())
