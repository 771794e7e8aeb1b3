"""Weights of backbones: from files, and what is said when they cannot be had."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from nas.detection.checkpoint import read_checkpoint, state_dict_of
from nas.errors import UserError
from search_space.files import is_there

CLASSIFIERS = ("fc.", "classifier.", "head.", "heads.")
"""Prefixes of the names of a classifier's weights, in torchvision and timm; a backbone does without."""


class BackboneError(UserError):
    """A backbone or its weights that cannot be had; the message says what to do."""


@contextmanager
def downloading(name: str, instead: str = "") -> Iterator[None]:
    """Turn failed downloads into errors that say what to do.

    Args:
        instead: another way to have the weights.

    Raises:
        BackboneError: for errors of the network or the disk.
    """
    try:
        yield
    except OSError as error:
        raise BackboneError(
            f"cannot download ImageNet weights for {name} ({error}); {instead}fetch the file elsewhere and "
            "set backbone.weights=<path>, or set backbone.weights=none"
        ) from error


def read_weights(model: nn.Module, path: str) -> dict[str, Tensor]:
    """The state dict in a file, made for `model`; a classifier's part is left out.

    Raises:
        BackboneError: if there is no such file, or names or shapes differ from the model's.
        CheckpointError: if the file holds no weights, or more than weights.
    """
    if not is_there(path):
        raise BackboneError(
            f"backbone.weights={path!r} is neither 'none' nor 'imagenet' nor a file; give the path of a state dict"
        )
    found = _without_classifier(state_dict_of(read_checkpoint(path), path))
    wanted = _without_classifier(model.state_dict())
    wrong = [name for name in wanted | found if _shape(wanted, name) != _shape(found, name)]
    if wrong:
        raise BackboneError(
            f"{path} does not fit this backbone; missing, unknown or of another shape: {', '.join(wrong[:8])}"
        )
    return found


def load_file(model: nn.Module, path: str) -> None:
    """Load a file's weights into all of the model but a classifier.

    Raises:
        BackboneError: as `read_weights`.
    """
    model.load_state_dict(read_weights(model, path), strict=False)


def _without_classifier(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if not name.startswith(CLASSIFIERS)}


def _shape(state: dict[str, Tensor], name: str) -> torch.Size | None:
    return state[name].shape if name in state else None
