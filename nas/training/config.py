"""Configuration of a full training, frozen and validated when it is made."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from nas.bounds import (
    MAX_BATCH,
    MAX_EPOCHS,
    MAX_IMAGE_SIZE,
    MAX_PROCESSES,
    MAX_RETRIES,
    MAX_SEED,
    MIN_SHARE,
    Float,
    Int,
    Options,
)
from nas.data.config import DataConfig
from nas.detection.config import NORM_GROUPS, BackboneConfig, HeadConfig, TwoStageConfig
from nas.references import Name
from search_space import MAX_CHANNELS, MAX_REPEATS

_STRICT = ConfigDict(extra="forbid")

MAX_SCALE = 16
"""Largest factor of `scale_jitter`; the widest published is 2."""

LAUNCH_FIELDS = ("resources", "epochs", "track")
"""Fields that may change from one start of a training to the next."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TrainNeckConfig:
    """Neck of a detector that is trained in full."""

    name: Name = "nas_fpn"
    """A known neck (`nas_fpn`, `bifpn`, `nas_fpn@tf`, ...), or one whose topology is taken: a trial of a search
    (`RUN_DIR:NUMBER`), a search (`RUN_DIR`, its best found), a directory that `nasfpn export` wrote, or a genotype's
    JSON file, or the URL of one of these; or a reference to a class of your own (`my_necks:MyNeck`), see
    `necks.build_neck`."""

    channels: Int = Field(default=256, ge=1, le=MAX_CHANNELS)
    repeats: Int = Field(default=1, ge=1, le=MAX_REPEATS)
    options: Options = Field(default_factory=dict)
    """Of the named neck, such as `extra` of `fpn@torchvision`; see `necks.build_neck`."""

    recipe: Options = Field(default_factory=dict)
    """Fields of `necks.Recipe` that differ from its defaults, such as `norm_momentum`; for merge graphs whose name is
    not `name@implementation`."""

    drop_block: Float = Field(default=0, ge=0, lt=1)
    """Share of a map that DropBlock (arXiv 1810.12890) zeroes after the norm of each cell, in training; NAS-FPN uses it
    for its widest models."""

    drop_block_size: Int = Field(default=7, ge=1, le=MAX_IMAGE_SIZE)
    """Side of the zeroed squares, in cells of the map; odd. Smaller maps have smaller ones."""

    checkpointing: bool = False
    """Keep only the maps between repeats for the backward pass and compute the rest anew: less memory for another
    forward pass of the neck. For merge graphs."""

    @model_validator(mode="after")
    def _odd(self) -> Self:
        if self.drop_block_size % 2 == 0:
            raise ValueError(f"drop_block_size must be odd, got {self.drop_block_size}")
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TrainOptimizerConfig:
    """The defaults are NAS-FPN's: lr .08 for batches of 64, a tenth after epochs 30 and 40."""

    name: Literal["sgd", "adamw"] = "sgd"
    """`sgd` has momentum 0.9."""

    lr: Float = Field(default=0.08, gt=0)
    """For the whole batch, whatever the number of processes."""

    weight_decay: Float = Field(default=1e-4, ge=0)
    """Of convolutions' weights; norms and biases have none."""

    schedule: Literal["step", "cosine"] = "step"
    """`step` divides by 10 after each of the milestones; `cosine` falls to 0."""

    milestones: tuple[Float, ...] = (30, 40)
    """Epochs, ascending; for `step`."""

    warmup_epochs: Float = Field(default=1, ge=0, le=MAX_EPOCHS)
    """The learning rate rises linearly over so many epochs, from `warmup_start` of its value."""

    warmup_start: Float = Field(default=0.1, gt=0, le=1)

    clip_norm: Float | None = Field(default=None, gt=0)
    """Largest norm of all gradients together; None for no clipping."""

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if any(epoch <= 0 for epoch in self.milestones) or sorted(set(self.milestones)) != list(self.milestones):
            raise ValueError(f"milestones must be ascending epochs above 0, got {self.milestones}")
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TrainResourceConfig:
    """Where a training runs."""

    processes: Int = Field(default=1, ge=1, le=MAX_PROCESSES)
    """Each trains on its share of every batch."""

    gpu: bool | None = None
    """True to give each process a GPU; None: if there is any in the cluster."""

    cpus: Float = Field(default=1, ge=MIN_SHARE, le=MAX_PROCESSES)
    """CPUs of each process, for Ray's bookkeeping."""

    threads: Int = Field(default=1, ge=1, le=MAX_PROCESSES)
    """CPU threads of each process beside those that load images."""

    loaders: Int = Field(default=2, ge=0, le=MAX_PROCESSES)
    """Processes that load images for each of them; 0: it does so itself."""

    max_failures: Int = Field(default=3, ge=0, le=MAX_RETRIES)
    """How often a training goes on from its last checkpoint after it lost a process; bad data is not tried again."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TrainConfig:
    """Everything a training needs to know; the defaults are NAS-FPN's recipe (arXiv 1904.07392 section 4.2).

    From one start to the next `epochs`, `resources` and `track` may change.
    """

    name: str
    data: DataConfig
    backbone: BackboneConfig = Field(default_factory=lambda: BackboneConfig(name="resnet50", weights="imagenet"))
    neck: TrainNeckConfig = Field(default_factory=TrainNeckConfig)
    detector: Literal["retinanet", "faster_rcnn"] = "retinanet"
    """Detector around the neck: torchvision's RetinaNet with the head of `head` and the focal loss of `focal_alpha` and
    `focal_gamma`, or its Faster R-CNN of `two_stage`."""

    head: HeadConfig = Field(default_factory=HeadConfig)
    two_stage: TwoStageConfig = Field(default_factory=TwoStageConfig)
    optimizer: TrainOptimizerConfig = Field(default_factory=TrainOptimizerConfig)
    resources: TrainResourceConfig = Field(default_factory=TrainResourceConfig)
    track: tuple[Name, ...] = ()
    """Trackers that the training is logged to, as those of a search."""

    image_size: Int = Field(default=640, ge=32, multiple_of=32, le=MAX_IMAGE_SIZE)
    """Side of the square that images are cropped or padded to; a multiple of 32."""

    scale_jitter: tuple[Float, Float] = (0.8, 2.0)
    """An image's longer side is scaled to `image_size` times a number drawn from this range."""

    flip: bool = True
    """Every other image, drawn anew each time, is mirrored."""

    epochs: Int = Field(default=50, ge=1, le=MAX_EPOCHS)
    batch_size: Int = Field(default=64, ge=1, le=MAX_BATCH)
    """Over all processes."""

    eval_batch_size: Int = Field(default=8, ge=1, le=MAX_BATCH)
    """Of each process."""

    eval_every: Int = Field(default=1, ge=1, le=MAX_EPOCHS)
    """Epochs from one AP to the next; the last epoch always has one."""

    score_on: Literal["reward", "test"] = "reward"
    """The split that AP is measured on."""

    scorer: Literal["pycocotools", "faster_coco_eval"] = "pycocotools"
    focal_alpha: Float = Field(default=0.25, gt=0, lt=1)
    focal_gamma: Float = Field(default=1.5, ge=0)
    deep_supervision: bool = False
    """A head after every repeat of the neck, so that detection may stop at any of them (NAS-FPN section 3)."""

    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """The others are autocast; fp16 with scaled losses, for GPUs."""

    channels_last: bool = True
    sync_norm: bool | None = None
    """True to take batch norms' statistics over all processes; None: if there are several GPUs."""

    ema: Float | None = Field(default=None, gt=0, lt=1)
    """Decay of a moving average of the weights, which is then scored and saved; None: the weights themselves."""

    seed: Int = Field(default=0, ge=0, le=MAX_SEED)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        low, high = self.scale_jitter
        if not 0 < low <= high <= MAX_SCALE:
            raise ValueError(
                f"scale_jitter must be (low, high) with 0 < low <= high <= {MAX_SCALE}, got {self.scale_jitter}"
            )
        if self.batch_size % self.resources.processes:
            raise ValueError(
                f"batch_size {self.batch_size} cannot be shared by resources.processes={self.resources.processes}; "
                "take a multiple"
            )
        if self.detector == "faster_rcnn" and self.deep_supervision:
            raise ValueError("deep_supervision is for the detector retinanet; set it to false, or detector=retinanet")
        if self.head.norm and self.neck.channels % NORM_GROUPS:
            raise ValueError(
                f"a head with norm needs neck.channels divisible by {NORM_GROUPS}, got {self.neck.channels}"
            )
        return self
