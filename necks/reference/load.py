"""State dicts of public implementations: read, strictly, and written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from necks.contract import Neck
from necks.reference.asff import asff
from necks.reference.effdet import effdet
from necks.reference.m2det import m2det
from necks.reference.mmdet import mmdet
from necks.reference.names import Source, Sources, WeightsError
from necks.reference.panet import panet
from necks.reference.tf import tf
from necks.reference.torchvision import torchvision

SOURCES: dict[str, Callable[..., Sources]] = {
    "torchvision": torchvision,
    "mmdet": mmdet,
    "effdet": effdet,
    "m2det": m2det,
    "asff": asff,
    "panet": panet,
    "tf": tf,
}
"""Source of weights -> the names there of a neck's tensors."""
WRITTEN = ("torchvision", "mmdet", "effdet")
"""Sources that name each tensor once, in our layout; others share modules or keep kernels in another order."""

WRAPPERS = ("state_dict", "model", "model_state_dict")
"""Keys that training programs keep a state dict under."""
MAX_WRAPPERS = 8
"""Dicts that a state dict is inside of; training programs have one or two."""
PREFIXES = ("module.", "model.", "neck.", "backbone.fpn.", "fpn.", "Conv_Body.")
"""Prefixes of data-parallel copies, training wrappers, necks in detectors of mmdetection, torchvision and effdet."""
BACKBONE_INSIDE = "conv_body."
"""PANet's neck has the backbone as a part of it."""
OPTIONAL_TAIL = "num_batches_tracked"
"""PyTorch's norms count batches since 0.4.1; older files have no such key, and it changes nothing here."""

NeckT = TypeVar("NeckT", bound=Neck)


def load_reference(neck: NeckT, state_dict: Mapping[str, Any], source: str) -> NeckT:
    """Load the weights of a public implementation into the matching neck, such as `fpn@torchvision`.

    Args:
        neck: neck from `build_neck`; it is changed in place and returned.
        state_dict: state dict of the public neck, or of a whole detector that has the neck under one of `PREFIXES` (its
            other keys are ignored), or a checkpoint of a training program that contains one of these. Tensors or
            arrays.
        source: one of `SOURCES`, which determines the names of the keys and the conventions.

    Raises:
        WeightsError: if the source is unknown or does not have this kind of neck, or if a tensor is missing, left over
            or of another shape. The neck is unchanged then.
    """
    if source not in SOURCES:
        raise WeightsError(f"unknown source {source!r}; known are {', '.join(SOURCES)}")
    load_strictly(neck, SOURCES[source](neck), _of_the_neck(state_dict), f"that of the {source} neck asked for")
    return neck


def reference_state(neck: Neck, source: str) -> dict[str, Tensor]:
    """State dict with which the public neck computes the same as ours; `load_reference` can read it.

    Args:
        neck: neck that follows the public implementation, such as `nas_fpn@mmdet`.
        source: one of `WRITTEN`, which determines the names of the keys and the conventions.

    Raises:
        WeightsError: for another source, or if the source does not have this kind of neck.
    """
    if source not in WRITTEN:
        raise WeightsError(f"weights are written for {', '.join(WRITTEN)}, not for {source!r}")
    sources = SOURCES[source](neck)
    state = neck.state_dict()
    if unknown := [name for name in state if name not in sources]:
        raise WeightsError(f"the {source} neck has no place for {', '.join(unknown)}")
    return {sources[name].names[0]: value.detach().clone() for name, value in state.items()}


def unwrapped(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """The innermost of the dicts that training programs wrap around a state dict.

    Raises:
        WeightsError: if there are too many, as in a dict that is inside itself.
    """
    for _ in range(MAX_WRAPPERS):
        inside = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inside is None:
            return content
        content = inside
    raise WeightsError("these weights hold dicts inside dicts without an end; save the state dict alone")


def load_strictly(module: nn.Module, sources: Sources, given: Mapping[str, Tensor], wanted: str) -> None:
    """Load every tensor of a module, and use every tensor that is given.

    Args:
        sources: where each of the module's tensors is found in `given`.
        wanted: what the state dict should have been, for the error.

    Raises:
        WeightsError: with every tensor that is missing, left over or of another shape. The module is unchanged then.
    """
    target = module.state_dict()
    problems: list[str] = []
    loaded = {name: _find(name, sources.get(name), given, like, problems) for name, like in target.items()}
    used = {name for entry in sources.values() for name in entry.names}
    left_over = sorted(key for key in given if key not in used and not key.endswith(OPTIONAL_TAIL))
    problems += [f"left over: {key}" for key in left_over]
    if problems:
        raise WeightsError(
            f"this state dict is not {wanted} ({len(problems)} differences):\n  " + "\n  ".join(problems)
        )
    module.load_state_dict(loaded)


def _of_the_neck(state_dict: Mapping[str, Any]) -> dict[str, Tensor]:
    state_dict = unwrapped(state_dict)
    for prefix in PREFIXES:
        if inside := {key.removeprefix(prefix): x for key, x in state_dict.items() if key.startswith(prefix)}:
            return _of_the_neck(inside)
    return {name: torch.as_tensor(x) for name, x in state_dict.items() if not name.startswith(BACKBONE_INSIDE)}


def _find(name: str, source: Source | None, given: Mapping[str, Tensor], like: Tensor, problems: list[str]) -> Tensor:
    if source is None:
        problems.append(f"no counterpart there: {name}")
        return like
    present = [key for key in source.names if key in given]
    if not present:
        if source.default is not None:
            return torch.full_like(like, source.default)
        if not name.endswith(OPTIONAL_TAIL):
            problems.append(f"missing: {' or '.join(source.names)}")
        return like
    value = given[present[0]]
    for other in present[1:]:
        if not torch.equal(given[other], value):
            problems.append(f"{other} differs from {present[0]}, but this neck has one module for both")
    value = source.convert(value) if source.convert else value
    if value.shape != like.shape:
        problems.append(f"{present[0]} has shape {tuple(value.shape)}, here it is {tuple(like.shape)}")
        return like
    return value
