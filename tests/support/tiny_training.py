"""A training of seconds; its data are made where `data.root` says."""

from __future__ import annotations

from nas.data.config import DataConfig, SignsConfig
from nas.detection.config import BackboneConfig, HeadConfig
from nas.training.config import TrainConfig, TrainNeckConfig, TrainOptimizerConfig, TrainResourceConfig


def train(root: str = "data") -> TrainConfig:
    return TrainConfig(
        name="tiny",
        data=DataConfig(
            root=root,
            embedded=SignsConfig(train=16, reward=6, test=4, image_size=96, plate_px=(50, 80), tile_px=(6, 8)),
        ),
        backbone=BackboneConfig(name="resnet10"),
        neck=TrainNeckConfig(channels=16, recipe={"norm_momentum": 0.1}),
        head=HeadConfig(convs=1, octaves=1, ratios=(1.0,)),
        optimizer=TrainOptimizerConfig(name="adamw", lr=3e-3, schedule="cosine", clip_norm=5),
        resources=TrainResourceConfig(loaders=0),
        image_size=96,
        scale_jitter=(0.8, 1.2),
        epochs=2,
        batch_size=4,
    )
