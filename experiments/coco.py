"""The paper's search and trainings on COCO (NAS-FPN, arXiv 1904.07392), and RetinaNet with FPN as their control.

COCO 2017 is expected in `data/coco`: `train2017/`, `val2017/` and `annotations/instances_{train,val}2017.json`; another
place is `--set data.root=DIR`. What differs from the paper is listed in `experiments/results/deviations.md`.
"""

from __future__ import annotations

from dataclasses import replace

from nas.data.config import DataConfig, SplitConfig
from nas.detection.config import BackboneConfig, HeadConfig
from nas.proxy.config import OptimizerConfig, ProxyConfig
from nas.search.config import ControllerConfig, ResourceConfig, SearchConfig
from nas.training.config import TrainConfig, TrainNeckConfig, TrainOptimizerConfig, TrainResourceConfig

TRAIN = SplitConfig(annotations="annotations/instances_train2017.json", images="train2017")
VAL = SplitConfig(annotations="annotations/instances_val2017.json", images="val2017")
HELD_OUT = 7392
"""Training images that candidates are scored on (facts of google/vertex-ai-nas; 110,895 are left)."""

STEPS_PER_EPOCH = 1733


def nas_fpn() -> TrainConfig:
    """R-50 NAS-FPN, 7 repeats of 256 channels, 640 px: 39.9 AP on test-dev."""
    return TrainConfig(
        name="coco-nas-fpn-640",
        data=DataConfig(root="data/coco", train=TRAIN, reward=VAL, test=None),
        backbone=BackboneConfig(name="resnet50", weights="imagenet"),
        neck=TrainNeckConfig(name="nas_fpn", channels=256, repeats=7),
        head=HeadConfig(norm=True),
        optimizer=TrainOptimizerConfig(lr=0.08, schedule="step", milestones=(30, 40), warmup_epochs=1),
        resources=TrainResourceConfig(processes=8, loaders=4),
        scale_jitter=(0.8, 1.2),
        epochs=50,
        batch_size=64,
        focal_gamma=1.5,
        precision="bf16",
        scorer="faster_coco_eval",
    )


def nas_fpn_1024() -> TrainConfig:
    """The same at 1024 px: 44.2 AP."""
    return replace(nas_fpn(), name="coco-nas-fpn-1024", image_size=1024)


def nas_fpn_1280() -> TrainConfig:
    """The same at 1280 px: 44.8 AP."""
    return replace(nas_fpn(), name="coco-nas-fpn-1280", image_size=1280)


def nas_fpn_384() -> TrainConfig:
    """R-50 NAS-FPN, 7 repeats of 384 channels, 1280 px: 45.4 AP; with DropBlock and 150 epochs, for so wide a neck."""
    wide = TrainNeckConfig(name="nas_fpn", channels=384, repeats=7, drop_block=0.1)
    slow = replace(nas_fpn().optimizer, milestones=(120, 140))
    return replace(nas_fpn_1280(), name="coco-nas-fpn-384", neck=wide, optimizer=slow, epochs=150)


def retinanet() -> TrainConfig:
    """RetinaNet R-50 FPN under the same recipe: 37.0 AP."""
    return replace(nas_fpn(), name="coco-retinanet-640", neck=TrainNeckConfig(name="fpn", channels=256))


def retinanet_101() -> TrainConfig:
    """RetinaNet R-101 FPN under the same recipe: 37.9 AP."""
    deeper = BackboneConfig(name="resnet101", weights="imagenet")
    return replace(retinanet(), name="coco-retinanet-101-640", backbone=deeper)


def search() -> SearchConfig:
    """The published search: 8,000 candidates by PPO, each trained 10 epochs on a proxy task, on 100 workers."""
    return SearchConfig(
        name="coco-nas-fpn-search",
        data=DataConfig(root="data/coco", train=TRAIN, reward=None, holdout=HELD_OUT, test=VAL),
        proxy=ProxyConfig(
            head=HeadConfig(norm=True),
            optimizer=OptimizerConfig(warmup_steps=STEPS_PER_EPOCH),
            steps=10 * STEPS_PER_EPOCH,
            precision="bf16",
            scorer="faster_coco_eval",
        ),
        controller=ControllerConfig(name="ppo", options={"batch_size": 20, "max_lag": 20}),
        resources=ResourceConfig(workers=100, gpus=1, cpus=4, checkpoint_seconds=600),
        trials=8000,
        random_trials=100,
    )
