"""One process of a full training.

Shapes: N images, S the side of the training images.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

from nas.data.coco import CocoSplit, Splits
from nas.detection.backbone import normalise
from nas.detection.checkpoint import read_checkpoint
from nas.detection.learning import autocast, clip
from nas.detection.saved import DetectorSpec, build_from_spec, save_detector
from nas.detection.two_stage import Detector
from nas.errors import UserError
from nas.training.augment import TrainingImages
from nas.training.config import TrainConfig
from nas.training.model import add_checkpointing, add_drop_block, sync_norms
from nas.training.objective import objective_of
from nas.training.optimization import lr_share, optimizer_of, set_lr
from nas.training.validation import validate

STATE_FILE = "state.pt"
LOOK_PERIOD = 10
"""Steps from one look at the loss, over all processes, to the next."""


class TrainingError(UserError):
    """A training that cannot go on; the message says why and what to change."""


@dataclass(frozen=True)
class Place:
    """This process's rank, number of processes and device."""

    rank: int
    world: int
    device: torch.device


@dataclass(frozen=True)
class Look:
    """How far an epoch is: steps done in it, of how many; mean loss over all processes, learning rate."""

    epoch: int
    step: int
    steps: int
    loss: float
    lr: float


class Trainer:
    """Trains a share of every batch, together with the other processes, an epoch at a time.

    All that is random in an epoch follows from the seed, the epoch and the process, so that a training that goes on
    from its last checkpoint goes on as if it had never stopped.

    Args:
        told: hears of every look at the loss.
    """

    def __init__(
        self, config: TrainConfig, spec: DetectorSpec, splits: Splits, place: Place, told: Callable[[Look], None]
    ) -> None:
        torch.set_num_threads(config.resources.threads)
        torch.manual_seed(config.seed)
        self.config, self.spec, self.place = config, spec, place
        self.epoch = 0
        self.history: list[dict[str, float]] = []
        self._told = told
        self._scored = _scored(splits, config)
        self._layout = torch.channels_last if config.channels_last else torch.contiguous_format
        self.detector = self._build()
        self._objective = objective_of(self.detector, config)
        self._part = self._parallel()
        self._average = _average(self.detector, config)
        self._optimizer = optimizer_of(self.detector, config.optimizer)
        self._scaler = torch.amp.GradScaler(place.device.type, enabled=config.precision == "fp16")
        self._images = TrainingImages(splits.train, config, self._objective)
        if len(self._images) < config.batch_size:
            raise TrainingError(f"batch_size {config.batch_size} is more than the {len(self._images)} training images")

    @property
    def scored_detector(self) -> Detector:
        """Detector that is scored and saved: the average if there is one."""
        return self.detector if self._average is None else self._average.module

    def train_epoch(self) -> None:
        """
        Raises:
            TrainingError: when the loss is no longer finite, in all processes alike.
        """
        start = time.perf_counter()
        self._seed()
        self.detector.train()
        total = torch.zeros((), device=self.place.device)
        batches = self._batches()
        steps = self.config_steps
        for step, (images, targets) in enumerate(batches):
            lr = self.config.optimizer.lr * lr_share(
                self.config.optimizer, self.epoch + step / steps, self.config.epochs
            )
            set_lr(self._optimizer, lr)
            loss = self._loss(images, targets)
            self._update(loss)
            total += loss.detach()
            if step % LOOK_PERIOD == 0 or step == steps - 1:
                self._look(Look(self.epoch, step + 1, steps, self._mean(loss.detach()), lr))
        self.epoch += 1
        seconds = time.perf_counter() - start
        self.history.append({"epoch": self.epoch, "loss": self._mean(total) / steps, "lr": lr, "seconds": seconds})

    @property
    def config_steps(self) -> int:
        """Steps of an epoch; what does not fill a batch is left for another epoch."""
        return len(self._images) // self.config.batch_size

    def score(self) -> dict[str, float]:
        """AP of `scored_detector`, as `nas.data.evaluate.coco_ap` gives it; joins the history. Empty in processes
        other than the first."""
        metrics = validate(self.scored_detector, self._scored, self.config, self.place.rank, self.place.world)
        self.history[-1].update(metrics)
        return metrics

    @property
    def due(self) -> bool:
        """True if AP is measured after the epoch that has just ended."""
        return self.epoch % self.config.eval_every == 0 or self.epoch == self.config.epochs

    def save(self, directory: Path) -> None:
        """Everything that the epochs to come depend on, and the detector as `load_detector` takes it."""
        state = {
            "epoch": self.epoch,
            "history": self.history,
            "detector": self.detector.state_dict(),
            "average": None if self._average is None else self._average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
        }
        directory.mkdir(parents=True, exist_ok=True)
        torch.save(state, directory / STATE_FILE)
        save_detector(self.scored_detector.state_dict(), self.spec, directory)

    def load(self, directory: Path) -> None:
        """Go on from what `save` wrote.

        Raises:
            CheckpointError: if it is damaged.
        """
        state = read_checkpoint(directory / STATE_FILE)
        self.epoch, self.history = state["epoch"], list(state["history"])
        self.detector.load_state_dict(state["detector"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])

    def _build(self) -> Detector:
        detector = build_from_spec(self.spec)
        if self.config.neck.drop_block:
            add_drop_block(detector.backbone.neck, self.config.neck.drop_block, self.config.neck.drop_block_size)
        if self.config.neck.checkpointing:
            add_checkpointing(detector.backbone.neck)
        detector = sync_norms(detector, self.config, self.place.device, self.place.world)
        return detector.to(self.place.device, memory_format=self._layout)

    def _parallel(self) -> nn.Module:
        part = self._objective.part(self.detector)
        if self.place.world == 1:
            return part
        devices = [self.place.device] if self.place.device.type == "cuda" else None
        return DistributedDataParallel(part, device_ids=devices)

    def _seed(self) -> None:
        """One stream of random numbers per epoch and process."""
        numbers = torch.tensor([self.config.seed, self.epoch, self.place.rank])
        torch.manual_seed(int((numbers * torch.tensor([1_000_003, 1_009, 1])).sum()))

    def _batches(self) -> Iterator[tuple[Tensor, Any]]:
        resources, place = self.config.resources, self.place
        sampler: DistributedSampler[Any] = DistributedSampler(
            self._images, place.world, place.rank, shuffle=True, seed=self.config.seed, drop_last=True
        )
        sampler.set_epoch(self.epoch)
        loader = DataLoader(
            self._images,
            self.config.batch_size // place.world,
            sampler=sampler,
            num_workers=resources.loaders,
            collate_fn=self._images.collate,
            drop_last=True,
            pin_memory=place.device.type == "cuda",
        )
        return iter(loader)

    def _loss(self, images: Tensor, targets: Any) -> Tensor:
        images = images.to(self.place.device, non_blocking=True)
        inputs = normalise(images, self.detector.backbone.body).contiguous(memory_format=self._layout)
        with autocast(self.config.precision, self.place.device):
            return self._objective.loss(self._part, inputs, targets)

    def _update(self, loss: Tensor) -> None:
        self._scaler.scale(loss).backward()
        self._scaler.unscale_(self._optimizer)
        clip(self.detector.parameters(), self.config.optimizer.clip_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        if self._average is not None:
            self._average.update_parameters(self.detector)

    def _mean(self, value: Tensor) -> float:
        """Over all processes."""
        value = value.clone()
        if self.place.world > 1:
            dist.all_reduce(value)
        return float(value) / self.place.world

    def _look(self, look: Look) -> None:
        if not math.isfinite(look.loss):
            raise TrainingError(
                f"loss is {look.loss} in epoch {look.epoch + 1}, step {look.step}; lower optimizer.lr, set "
                "optimizer.clip_norm, or warm up longer (optimizer.warmup_epochs)"
            )
        self._told(look)


def _average(detector: Detector, config: TrainConfig) -> AveragedModel | None:
    if config.ema is None:
        return None
    return AveragedModel(detector, multi_avg_fn=get_ema_multi_avg_fn(config.ema), use_buffers=True)


def _scored(splits: Splits, config: TrainConfig) -> CocoSplit:
    split = splits.reward if config.score_on == "reward" else splits.test
    if split is None:
        raise TrainingError("score_on is test, but there is no test split (data.test is null); name one, or reward")
    return split
