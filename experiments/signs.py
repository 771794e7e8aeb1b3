"""Searches on the embedded data set, for a machine without a GPU."""

from __future__ import annotations

from dataclasses import replace

from nas.bounds import MAX_TRIALS
from nas.data.config import DataConfig, SignsConfig
from nas.detection.config import BackboneConfig, HeadConfig
from nas.proxy.config import NeckConfig, OptimizerConfig, ProxyConfig
from nas.search.budget import BudgetConfig
from nas.search.config import ControllerConfig, SearchConfig, SpaceConfig, data_of
from nas.search.confirmation import ConfirmConfig
from nas.search.constraints import ConstraintConfig
from nas.search.stopping import StoppingConfig
from nas.training.config import TrainConfig, TrainNeckConfig, TrainOptimizerConfig, TrainResourceConfig

from . import coco

PROXY = ProxyConfig(
    backbone=BackboneConfig(name="efficientnet_lite0", weights="imagenet", frozen=True),
    neck=NeckConfig(channels=32, repeats=1, norm_momentum=0.1),
    head=HeadConfig(convs=0, anchor_scale=1.5, octaves=2, ratios=(1.0,), score_threshold=0.03),
    optimizer=OptimizerConfig(name="adamw", lr=6e-3, schedule="cosine", warmup_steps=50, clip_norm=5.0),
    image_size=256,
    steps=400,
    batch_size=8,
    focal_gamma=2.0,
    augment="flip",
    scorer="faster_coco_eval",
)
"""About 15 seconds of one CPU core. The smallest anchor is 12 px, for objects of 8 to 200 px in 256 px images; the head
predicts straight from the pyramid, so that the neck is most of what is trained."""


MAX_MACS = 20_172_800
"""Multiply-adds of the NAS-FPN cell in this proxy task."""


def search() -> SearchConfig:
    """The default run: 96 candidates by evolution from BiFPN and the NAS-FPN cell, each with at most the latter's
    multiply-adds, beside the known necks and a few random candidates; then the confirmation.

    `--set controller.initial=[]` searches from nothing.
    """
    return SearchConfig(
        name="signs",
        data=DataConfig(root="data/signs", embedded=SignsConfig(train=600, reward=200, test=200)),
        proxy=replace(PROXY, warm_steps=300, precision="auto"),
        space=SpaceConfig(name="pyramid", max_cells=12),
        controller=ControllerConfig(
            name="evolution",
            options={"population_size": 16, "tournament_size": 8, "num_random": 2},
            initial=("bifpn", "nas_fpn"),
        ),
        constraints=ConstraintConfig(max_macs=MAX_MACS),
        confirm=ConfirmConfig(trainings=24),
        trials=96,
        random_trials=4,
    )


def wide() -> SearchConfig:
    """300 candidates and as many random ones; about two hours of two CPU cores. Evolution starts from three published
    necks, among random ones.
    """
    return replace(
        search(),
        name="signs-wide",
        controller=ControllerConfig(
            name="evolution",
            options={"population_size": 40, "tournament_size": 8, "num_random": 20},
            initial=("fpn", "bifpn", "nas_fpn"),
        ),
        constraints=ConstraintConfig(max_macs=20_500_000),
        stopping=StoppingConfig(rungs=(100, 200), reduction_factor=1.5),
        trials=300,
        random_trials=300,
    )


def long() -> SearchConfig:
    """Two hours of two CPU cores: as many candidates as fit, of 800 steps each, and a longer confirmation."""
    default = search()
    return replace(
        default,
        name="signs-long",
        proxy=replace(default.proxy, steps=800),
        controller=replace(default.controller, options={"population_size": 40, "tournament_size": 8, "num_random": 2}),
        confirm=ConfirmConfig(trainings=60, found=10, known=3),
        budget=BudgetConfig(hours=2),
        trials=MAX_TRIALS,
    )


def smoke() -> SearchConfig:
    """Every part of a search in a minute or two, over the published space; its numbers mean nothing."""
    return SearchConfig(
        name="signs-smoke",
        data=DataConfig(root="data/signs-smoke", embedded=SignsConfig(train=48, reward=24, test=8)),
        proxy=replace(PROXY, steps=40),
        controller=ControllerConfig(name="evolution", options={"population_size": 2, "tournament_size": 2}),
        known=("fpn", "nas_fpn"),
        confirm=ConfirmConfig(trainings=4, found=1, known=1),
        trials=4,
        random_trials=2,
    )


def train() -> TrainConfig:
    """A whole training on the embedded data, its backbone included: an hour of a CPU core."""
    return TrainConfig(
        name="signs-train",
        data=data_of(search()),
        backbone=replace(PROXY.backbone, frozen=False),
        neck=TrainNeckConfig(channels=PROXY.neck.channels, recipe={"norm_momentum": 0.1}),
        head=PROXY.head,
        optimizer=TrainOptimizerConfig(
            name="adamw", lr=2e-3, schedule="cosine", warmup_epochs=0.5, clip_norm=PROXY.optimizer.clip_norm
        ),
        image_size=PROXY.image_size,
        scale_jitter=(0.8, 1.2),
        epochs=12,
        batch_size=PROXY.batch_size,
        focal_gamma=PROXY.focal_gamma,
        scorer=PROXY.scorer,
    )


def recipe() -> TrainConfig:
    """The paper's recipe, `experiments.coco:nas_fpn`, at the size of two CPU cores: 15 minutes with two processes.

    Other than there: backbone, width, repeats, image size, the batch and its learning rate (higher for its size, as
    there are few steps), the length, and the anchors of the embedded data's small objects.
    """
    full = coco.nas_fpn()
    return replace(
        full,
        name="signs-recipe",
        data=DataConfig(root="data/signs-recipe", embedded=SignsConfig(train=400, reward=100, test=20)),
        backbone=replace(PROXY.backbone, frozen=False),
        neck=replace(full.neck, channels=32, repeats=3, recipe={"norm_momentum": 0.1}),
        head=replace(full.head, convs=1, anchor_scale=PROXY.head.anchor_scale),
        optimizer=replace(full.optimizer, lr=0.02, milestones=(7, 9)),
        resources=TrainResourceConfig(processes=2, loaders=0),
        image_size=192,
        epochs=10,
        batch_size=8,
        precision="fp32",
    )
