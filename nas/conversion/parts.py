"""Parts that the readers of public state dicts share: categories, the ResNet's depth, counts of layers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nas.errors import UserError

RATIOS, OCTAVES = 3, 3
ANCHORS = RATIOS * OCTAVES
"""Anchors per place; they are not in the weights, so they are taken to be RetinaNet's."""

OUR_EPS = 1e-5
"""Epsilon of the batch norms in our ResNets, as in torchvision's."""

State = Mapping[str, Tensor]

_RESNETS = {
    ("basic", 1, 1, 1, 1): "resnet10",
    ("basic", 2, 2, 2, 2): "resnet18",
    ("basic", 3, 4, 6, 3): "resnet34",
    ("bottleneck", 3, 4, 6, 3): "resnet50",
    ("bottleneck", 3, 4, 23, 3): "resnet101",
}


class ConversionError(UserError):
    """A state dict of no detector that can be built here; the message lists why."""


@dataclass(frozen=True)
class Categories:
    """Classes of a detector, in the order of its outputs."""

    ids: tuple[int, ...]
    names: tuple[str, ...]


def resnet_of(state: State, prefix: str) -> str:
    """Name of the ResNet whose weights begin with `prefix`.

    Raises:
        ConversionError: if there is none that can be built.
    """
    start = re.escape(prefix)
    first, second, third, fourth = (count(state, rf"{start}layer{stage}\.(\d+)\.") for stage in (1, 2, 3, 4))
    blocks = (first, second, third, fourth)
    kind = "bottleneck" if f"{prefix}layer1.0.conv3.weight" in state else "basic"
    name = _RESNETS.get((kind, *blocks))
    if name is None or f"{prefix}conv1.weight" not in state:
        seen = f"{blocks} {kind} blocks" if any(blocks) else f"keys such as {', '.join(list(state)[:3])}"
        raise ConversionError(
            f"the backbone must be a ResNet under {prefix!r}, one of {', '.join(_RESNETS.values())}; found {seen}"
        )
    return name


def count(state: Iterable[str], pattern: str) -> int:
    """One more than the largest number that the pattern's group matches at the start of a name; 0 without any."""
    found = [int(match[1]) for name in state if (match := re.match(pattern, name))]
    return max(found, default=-1) + 1


def needed(state: State, name: str, advice: str) -> Tensor:
    """
    Raises:
        ConversionError: if the tensor is not there.
    """
    if name not in state:
        raise ConversionError(f"{name} is missing, so this is no such detector; {advice}")
    return state[name]


def outputs_per_anchor(layer: Tensor, name: str) -> int:
    """
    Raises:
        ConversionError: if its channels do not divide over RetinaNet's anchors.
    """
    if len(layer) % ANCHORS:
        raise ConversionError(
            f"{name} has {len(layer)} outputs, which {ANCHORS} anchors per place ({RATIOS} ratios, {OCTAVES} sizes) "
            "cannot share; only RetinaNet's anchors can be converted"
        )
    return len(layer) // ANCHORS


def check_boxes(layer: Tensor, name: str) -> None:
    """
    Raises:
        ConversionError: if there are not four outputs for each of RetinaNet's anchors.
    """
    if outputs_per_anchor(layer, name) != 4:
        raise ConversionError(
            f"{name} has {len(layer)} outputs, but {ANCHORS} anchors of four are {4 * ANCHORS}; only RetinaNet's "
            "anchors can be converted"
        )


def chosen_classes(rows: tuple[int, ...], classes: int) -> Callable[[Tensor], Tensor]:
    """From the outputs of all anchors and classes, (A * K, ...), to those of some classes."""
    return lambda value: value.unflatten(0, (ANCHORS, classes))[:, list(rows)].flatten(0, 1)


def with_norm_eps(state: State, prefix: str, theirs: float) -> dict[str, Tensor]:
    """The same state dict, whose batch norms under `prefix` compute with our eps what they computed with theirs."""
    converted = dict(state)
    for name, variance in state.items():
        if name.startswith(prefix) and name.endswith(".running_var"):
            weight = name.replace("running_var", "weight")
            factor = torch.sqrt((variance.double() + OUR_EPS) / (variance.double() + theirs))
            converted[weight] = (state[weight] * factor).to(state[weight].dtype)
    return converted
