"""Configuration of a proxy task: the short training that scores a candidate."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from nas.bounds import MAX_BATCH, MAX_IMAGE_SIZE, MAX_PROCESSES, MAX_STEPS, Float, Int
from nas.detection.config import DEVICES, NORM_GROUPS, BackboneConfig, HeadConfig, TwoStageConfig
from search_space import MAX_CHANNELS, MAX_LEVEL, MAX_REPEATS
from search_space.bounds import shown

Precision = Literal["fp32", "bf16", "auto"]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class NeckConfig:
    """Settings with which every candidate's neck is built. The search changes only the topology."""

    channels: Int = Field(default=256, ge=1, le=MAX_CHANNELS)
    repeats: Int = Field(default=3, ge=1, le=MAX_REPEATS)
    activation: Literal["relu", "silu", "none"] = "relu"
    norm_momentum: Float = Field(default=0.01, gt=0, le=1)
    """Weight of the newest batch in the running statistics. Short trainings need more than TensorFlow's 0.01."""

    separable: bool = False

    levels: tuple[Int, ...] = (3, 4, 5, 6, 7)
    """Levels of the pyramid, fine to coarse. They begin with the levels of the backbone."""

    @model_validator(mode="after")
    def _consecutive(self) -> Self:
        first, count = min(self.levels, default=0), len(self.levels)
        fits = count >= 2 and first >= 1 and max(self.levels) <= MAX_LEVEL
        if not fits or self.levels != tuple(range(first, first + count)):
            raise ValueError(
                f"levels must be two or more, without a gap, from 1 up to {MAX_LEVEL}, got {shown(self.levels)}; for "
                "example 3, 4, 5, 6, 7"
            )
        return self


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class OptimizerConfig:
    """Optimizer of the proxy task and its schedule; the defaults are the paper's."""

    name: Literal["sgd", "adamw"] = "sgd"
    """`sgd` has momentum 0.9."""

    lr: Float = Field(default=0.08, gt=0)
    weight_decay: Float = Field(default=1e-4, ge=0)
    schedule: Literal["step", "cosine"] = "step"
    """Schedule of the learning rate. `step` divides it by 10 after 80 % of the steps, as in the paper's proxy task;
    `cosine` lowers it to 2 %."""

    warmup_steps: Int = Field(default=1000, ge=0, le=MAX_STEPS)
    clip_norm: Float | None = Field(default=None, gt=0)
    """Largest norm of all gradients together; None: no clipping."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ProxyConfig:
    """Configuration of a proxy task. The defaults are the paper's (arXiv 1904.07392 section 4.1; 17,330 steps are 10
    epochs)."""

    backbone: BackboneConfig = Field(default_factory=BackboneConfig)
    neck: NeckConfig = Field(default_factory=NeckConfig)
    detector: Literal["retinanet", "faster_rcnn"] = "retinanet"
    """Detector around the neck: torchvision's RetinaNet with the settings in `head`, or torchvision's Faster R-CNN with
    the settings in `two_stage`."""

    head: HeadConfig = Field(default_factory=HeadConfig)
    two_stage: TwoStageConfig = Field(default_factory=TwoStageConfig)
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig)
    warm_steps: Int = Field(default=0, ge=0, le=MAX_STEPS)
    """Number of steps of one training of stem and head, without any cell between them. All candidates start from its
    weights, which are kept beside the features. Only for frozen backbones."""

    image_size: Int = Field(default=512, ge=32, le=MAX_IMAGE_SIZE)
    """Images are scaled so that the longer side has this many pixels, and padded to a square."""

    augment: Literal["none", "flip"] = "none"
    """Augmentation. `flip` shows every image as it is or mirrored, at random in each epoch; cached features then take
    twice the space."""

    steps: Int = Field(default=17_330, ge=0, le=MAX_STEPS)
    batch_size: Int = Field(default=64, ge=1, le=MAX_BATCH)
    eval_batch_size: Int = Field(default=16, ge=1, le=MAX_BATCH)
    focal_alpha: Float = Field(default=0.25, gt=0, lt=1)
    focal_gamma: Float = Field(default=1.5, ge=0)
    scorer: Literal["pycocotools", "faster_coco_eval"] = "pycocotools"
    """Package that computes AP. `faster_coco_eval` is faster and gives the same up to rounding (pip install
    'nas-fpn[fast]')."""

    postprocess: Literal["batch", "image"] = "batch"
    """`batch` decodes and suppresses the boxes of a batch at once; `image` does so image by image, in torchvision's own
    loop."""

    precision: Precision = "fp32"
    """`bf16`: neck and head run under autocast; weights, loss and optimizer stay in fp32. `auto`: bf16 if it is faster
    than fp32 on this processor; a search decides this once, by a few timed steps."""

    channels_last: bool = True
    """True to lay out maps and weights with channels last in memory. The numbers are the same up to rounding."""

    compile: Literal["none", "default", "reduce-overhead"] = "none"
    """Mode of `torch.compile` for every candidate; `reduce-overhead` records CUDA graphs. Compiling takes up to a
    minute, so this is for long trials on a GPU."""

    cuda_graph: Literal["auto", "on", "off"] = Field(default="auto", repr=False)
    """Recording of a candidate's training step as a CUDA graph, which is then replayed, so that the GPU does not wait
    for Python. The numbers are the same up to rounding. `auto`: record on a CUDA device if features and targets fit
    into its memory and the training is not too short. `on`: record short trainings as well; without a CUDA device this
    is an error. Only for RetinaNet on a frozen backbone, without `compile`."""

    cache_targets: bool = True
    """True to match anchors with boxes once per image, instead of at every step."""

    threads: Int = Field(default=1, ge=1, le=MAX_PROCESSES)
    """CPU threads of a trial. Several trials with one thread each are faster than one trial with several threads."""

    loaders: Int = Field(default=0, ge=0, le=MAX_PROCESSES, repr=False)
    """Number of processes of a trial that read images in advance; 0: the trial reads them itself. Loaders help a
    backbone that is trained, because its images are read at every step. A frozen backbone reads its images only
    once."""

    device: str = Field(default="auto", pattern=DEVICES)
    """Device of the training: `cpu`, `cuda`, `cuda:1`, `xpu` (Intel), `mps` (Apple), or `auto`: the accelerator that
    the worker was given (`resources.gpus`), or else the CPU."""

    @model_validator(mode="after")
    def _warm_is_frozen(self) -> Self:
        if self.warm_steps and not self.backbone.frozen:
            raise ValueError(
                "warm_steps needs a frozen backbone, which all candidates share; set backbone.frozen=true, or "
                "warm_steps=0"
            )
        return self

    @model_validator(mode="after")
    def _two_stage_fits(self) -> Self:
        if self.detector == "faster_rcnn" and (self.warm_steps or self.compile != "none"):
            raise ValueError("the detector faster_rcnn cannot use warm_steps or compile; leave them at 0 and none")
        return self

    @model_validator(mode="after")
    def _graph_fits(self) -> Self:
        fits = self.detector == "retinanet" and self.backbone.frozen and self.compile == "none" and self.cache_targets
        if self.cuda_graph == "on" and not fits:
            raise ValueError(
                "cuda_graph=on is for the detector retinanet with backbone.frozen, cache_targets and compile=none; "
                "set these, or cuda_graph=auto"
            )
        return self

    @model_validator(mode="after")
    def _levels_fit(self) -> Self:
        first = self.backbone.levels
        if self.neck.levels[: len(first)] != first:
            raise ValueError(
                f"neck.levels must begin with backbone.levels {shown(first)}, got {shown(self.neck.levels)}; set both"
            )
        return self

    @model_validator(mode="after")
    def _head_fits(self) -> Self:
        if self.head.norm and self.neck.channels % NORM_GROUPS:
            raise ValueError(
                f"a head with norm needs neck.channels divisible by {NORM_GROUPS}, got {self.neck.channels}"
            )
        return self
