"""Stem and head, trained once without any cell between them: where all candidates of a proxy task start."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from filelock import FileLock
from torch import Tensor
from torchvision.models.detection import RetinaNet

from nas.data.coco import CocoSplit, digest
from nas.data.opened_images import CACHE_DIR
from nas.detection.backbone import Backbone, weights_digest
from nas.errors import UserError
from nas.proxy.config import ProxyConfig
from nas.proxy.trial import TrialError
from necks.files import read_tensors, write_tensors
from search_space.files import FileError

_log = logging.getLogger(__name__)

WARM_SEED = 0


class WarmError(UserError):
    """The shared training failed, so that no candidate can start."""


def warm_config(config: ProxyConfig) -> ProxyConfig:
    """The training of stem and head."""
    return replace(config, steps=config.warm_steps, warm_steps=0, compile="none")


def warm_weights(
    config: ProxyConfig, split: CocoSplit, backbone: Backbone, root: Path, train: Callable[[], RetinaNet]
) -> dict[str, Tensor]:
    """Weights from the cache under `root`, or trained and kept there for all other workers.

    Args:
        train: trains a detector as `warm_config` says.

    Raises:
        WarmError: if that training fails, or the kept weights are damaged.
    """
    identity = f"{warm_config(config)!r} {digest(split)} {weights_digest(backbone)} {torch.__version__}"
    path = root / CACHE_DIR / f"warm-{hashlib.sha256(identity.encode()).hexdigest()[:32]}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if not path.exists():
            _log.info("training stem and head for %d steps, once; they are kept in %s", config.warm_steps, path.parent)
            partial = path.with_suffix(".partial")
            try:
                detector = train()
            except TrialError as error:
                raise WarmError(f"the shared training of stem and head failed (proxy.warm_steps): {error}") from error
            write_tensors(partial, _shared(detector))
            partial.replace(path)
        try:
            return read_tensors(path)
        except FileError as error:
            raise WarmError(f"{error}; or delete it, to have stem and head trained again") from error


def start_from(detector: RetinaNet, weights: Mapping[str, Tensor]) -> None:
    """Copy head and stem, each whole or, in a detector whose own has other names or shapes, not at all."""
    with torch.no_grad():
        for part in _parts(detector).values():
            if all(name in weights and weights[name].shape == value.shape for name, value in part.items()):
                for name, value in part.items():
                    value.copy_(weights[name])


def _shared(detector: RetinaNet) -> dict[str, Tensor]:
    return {name: value for part in _parts(detector).values() for name, value in part.items()}


def _parts(detector: RetinaNet) -> dict[str, dict[str, Tensor]]:
    """State of the head, and of the stem if the neck has such."""
    modules = {"head": detector.head, "stem": getattr(detector.backbone.neck, "stem", None)}
    return {
        name: {f"{name}.{key}": value for key, value in module.state_dict().items()}
        for name, module in modules.items()
        if module is not None
    }
