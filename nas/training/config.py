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
"""Fields that a later start of the same training may change."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TrainNeckConfig:
    """Neck of a detector that is trained in full."""

    name: Name = "nas_fpn"
    """The neck: a known neck (`nas_fpn`, `bifpn`, `nas_fpn@tf`, ...) or a reference to a class of your own
    (`my_necks:MyNeck`), see `necks.build_neck`. Or the source of a topology: a trial of a search (`RUN_DIR:NUMBER`), a
    search (`RUN_DIR`, its best found neck), a directory that `nasfpn export` wrote, a genotype's JSON file, or the URL
    of one of these."""

    channels: Int = Field(default=256, ge=1, le=MAX_CHANNELS)
    repeats: Int = Field(default=1, ge=1, le=MAX_REPEATS)
    options: Options = Field(default_factory=dict)
    """Options of the named neck, such as `extra` of `fpn@torchvision`; see `necks.build_neck`."""

    recipe: Options = Field(default_factory=dict)
    """Fields of `necks.Recipe` that differ from their defaults, such as `norm_momentum`. Only for necks of merge cells
    whose name is not `name@implementation`."""

    drop_block: Float = Field(default=0, ge=0, lt=1)
    """Share of a map that DropBlock (arXiv 1810.12890) zeroes after the norm of each cell during training. NAS-FPN uses
    it for its widest models."""

    drop_block_size: Int = Field(default=7, ge=1, le=MAX_IMAGE_SIZE)
    """Side of the zeroed squares, in pixels of the map; an odd number. Maps that are smaller get smaller squares."""

    checkpointing: bool = False
    """True to keep only the maps between repeats for the backward pass and compute the others again. This saves memory
    and costs another forward pass of the neck. Only for necks of merge cells."""

    @model_validator(mode="after")
    def _odd(self) -> Self:
        if self.drop_block_size % 2 == 0:
            raise ValueError(f"drop_block_size must be odd, got {self.drop_block_size}")
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TrainOptimizerConfig:
    """Optimizer of a full training and its schedule. The defaults are NAS-FPN's: lr 0.08 for batches of 64, divided by
    10 after epochs 30 and 40."""

    name: Literal["sgd", "adamw"] = "sgd"
    """`sgd` has momentum 0.9."""

    lr: Float = Field(default=0.08, gt=0)
    """Learning rate for the whole batch, whatever the number of processes."""

    weight_decay: Float = Field(default=1e-4, ge=0)
    """Weight decay of the weights of convolutions; norms and biases have none."""

    schedule: Literal["step", "cosine"] = "step"
    """Schedule of the learning rate. `step` divides it by 10 after each of the milestones; `cosine` lowers it to 0."""

    milestones: tuple[Float, ...] = (30, 40)
    """Epochs after which `step` lowers the learning rate, in ascending order."""

    warmup_epochs: Float = Field(default=1, ge=0, le=MAX_EPOCHS)
    """Number of epochs over which the learning rate rises linearly, from `warmup_start` times its value."""

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
    """Resources of a full training."""

    processes: Int = Field(default=1, ge=1, le=MAX_PROCESSES)
    """Number of processes. Each trains on its share of every batch."""

    gpu: bool | None = None
    """True to give each process a GPU; None: do so if the cluster has GPUs."""

    cpus: Float = Field(default=1, ge=MIN_SHARE, le=MAX_PROCESSES)
    """CPUs of each process, which Ray uses to place the processes."""

    threads: Int = Field(default=1, ge=1, le=MAX_PROCESSES)
    """CPU threads of each process, not counting its loaders."""

    loaders: Int = Field(default=2, ge=0, le=MAX_PROCESSES)
    """Number of loader processes of each training process; 0: it loads images itself."""

    max_failures: Int = Field(default=3, ge=0, le=MAX_RETRIES)
    """How many times a training continues from its last checkpoint after it lost a process. Other errors, such as bad
    data, end it at once."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TrainConfig:
    """Configuration of a full training. The defaults are NAS-FPN's recipe (arXiv 1904.07392 section 4.2).

    A later start of the same training may change `epochs`, `resources` and `track`.
    """

    name: str
    data: DataConfig
    backbone: BackboneConfig = Field(default_factory=lambda: BackboneConfig(name="resnet50", weights="imagenet"))
    neck: TrainNeckConfig = Field(default_factory=TrainNeckConfig)
    detector: Literal["retinanet", "faster_rcnn"] = "retinanet"
    """Detector around the neck: torchvision's RetinaNet with the settings in `head`, `focal_alpha` and `focal_gamma`,
    or torchvision's Faster R-CNN with the settings in `two_stage`."""

    head: HeadConfig = Field(default_factory=HeadConfig)
    two_stage: TwoStageConfig = Field(default_factory=TwoStageConfig)
    optimizer: TrainOptimizerConfig = Field(default_factory=TrainOptimizerConfig)
    resources: TrainResourceConfig = Field(default_factory=TrainResourceConfig)
    track: tuple[Name, ...] = ()
    """Trackers that the training is logged to: `tensorboard`, `wandb`, `mlflow`, or references to classes of your
    own."""

    image_size: Int = Field(default=640, ge=32, multiple_of=32, le=MAX_IMAGE_SIZE)
    """Side of the square that images are cropped or padded to; a multiple of 32."""

    scale_jitter: tuple[Float, Float] = (0.8, 2.0)
    """Range of the random scale: the longer side of an image becomes `image_size` times a number from this range."""

    flip: bool = True
    """True to mirror each image with a probability of one half."""

    epochs: Int = Field(default=50, ge=1, le=MAX_EPOCHS)
    batch_size: Int = Field(default=64, ge=1, le=MAX_BATCH)
    """Images per step, over all processes."""

    eval_batch_size: Int = Field(default=8, ge=1, le=MAX_BATCH)
    """Images per batch of each process in evaluation."""

    eval_every: Int = Field(default=1, ge=1, le=MAX_EPOCHS)
    """Number of epochs between two measurements of AP. AP is always measured after the last epoch."""

    score_on: Literal["reward", "test"] = "reward"
    """Split on which AP is measured."""

    scorer: Literal["pycocotools", "faster_coco_eval"] = "pycocotools"
    focal_alpha: Float = Field(default=0.25, gt=0, lt=1)
    focal_gamma: Float = Field(default=1.5, ge=0)
    deep_supervision: bool = False
    """True for a head after every repeat of the neck, so that detection can stop after any of them (NAS-FPN section
    3)."""

    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """`bf16` and `fp16` use autocast; `fp16` also scales the loss, and is for GPUs."""

    channels_last: bool = True
    sync_norm: bool | None = None
    """True to compute the statistics of batch norms over all processes; None: do so if there are several GPUs."""

    ema: Float | None = Field(default=None, gt=0, lt=1)
    """Decay of an exponential moving average of the weights, which is then scored and saved; None: no average."""

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
