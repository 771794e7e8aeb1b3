"""Digest of what trainings depend on beyond their configuration."""

from __future__ import annotations

import hashlib

import torch

from nas.data.coco import digest, open_splits
from nas.detection.backbone import build_backbone, weights_digest
from nas.search.config import SearchConfig, data_of


def content_of(config: SearchConfig) -> str:
    """Identifies the data, a frozen backbone's weights and the version of torch.

    Raises:
        DataError, BackboneError: when data or weights cannot be had.
    """
    splits = open_splits(data_of(config))
    parts = [digest(split) for split in (splits.train, splits.reward, splits.test) if split is not None]
    if config.proxy.backbone.weights != "none":
        parts.append(weights_digest(build_backbone(config.proxy.backbone)))
    return hashlib.sha256(" ".join([*parts, str(torch.__version__)]).encode()).hexdigest()[:32]
