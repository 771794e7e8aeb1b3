"""The maps inside torchvision's and timm's classification models.

Shapes: images are (N, 3, H, W); the map of level l is (N, C_l, H / 2^l, W / 2^l), rounded up by all but the models that
pool without padding (VGG, DenseNet), which round down; at multiples of 2^l both are the same.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

from nas.detection.meta import meta_copy
from nas.detection.weights import BackboneError, downloading, load_file, read_weights

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PROBE = (192, 320)
"""Height and width of the image that shows which maps a model has: multiples of 64, unequal so that it shows which
dimension is which."""
STRIDE_LEVELS = {2**level: level for level in range(7)}


class FeatureMaps(NamedTuple):
    body: nn.Module
    """Images in, one map per level asked for out, fine to coarse."""

    channels: tuple[int, ...]
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD


class MapsInOrder(nn.Module):
    """The values of a module that gives a dict of maps."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, images: Tensor) -> list[Tensor]:
        return list(self.layers(images).values())


class ChannelsFirst(nn.Module):
    """A body whose maps (N, H, W, C), those of a Swin transformer, are given as (N, C, H, W).

    Args:
        permuted: for each map, whether it is (N, H, W, C).
    """

    def __init__(self, body: nn.Module, permuted: Sequence[bool]) -> None:
        super().__init__()
        self.body = body
        self.permuted = tuple(permuted)

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = zip(self.body(images), self.permuted, strict=True)
        return [x.permute(0, 3, 1, 2).contiguous() if is_permuted else x for x, is_permuted in maps]


def check_levels(name: str, levels: Sequence[int], available: Iterable[int]) -> None:
    """
    Raises:
        BackboneError: if not all levels are available, with those that are.
    """
    there = sorted(available)
    if not set(levels) <= set(there):
        raise BackboneError(
            f"{name} has maps at the levels {_listed(there) or '(none)'}, not at all of {_listed(levels)}; set "
            "backbone.levels to some of these or choose another (a convolutional) model"
        )


def torchvision_maps(name: str, levels: Sequence[int], weights: str) -> FeatureMaps:
    """Maps of a torchvision classification model: for each level the output of the last of its stages there.

    The last stage of the coarsest level is often a 1x1 convolution to many channels (EfficientNet's 1280), as in
    torchvision's own detectors with MobileNet.

    Args:
        weights: as in `BackboneConfig`.

    Raises:
        BackboneError: for an unknown name, weights that cannot be had, and models without maps at these levels.
    """
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise BackboneError(f"torchvision has no classification model {name!r}{_nearest(name, known)}")
    with downloading(f"torchvision/{name}"):
        model = torchvision.models.get_model(name, weights="DEFAULT" if weights == "imagenet" else None)
    if weights not in ("none", "imagenet"):
        load_file(model, weights)
    stages = _stages(model, f"torchvision/{name}")
    check_levels(f"torchvision/{name}", levels, stages)
    nodes = {stages[level]: f"c{level}" for level in levels}
    body = MapsInOrder(create_feature_extractor(model, nodes, suppress_diff_warning=True))
    return FeatureMaps(*_with_channels_first(body, f"torchvision/{name}", levels))


def timm_maps(name: str, levels: Sequence[int], weights: str) -> FeatureMaps:
    """Maps of a timm model, those that timm's `features_only` gives.

    Args:
        weights: as in `BackboneConfig`.

    Raises:
        BackboneError: without timm, for an unknown name, weights that cannot be had, and models without maps at these
            levels.
    """
    timm = _timm(name)
    indices = _timm_indices(name)
    check_levels(f"timm/{name}", levels, indices)
    build = functools.partial(
        _timm_model, timm, name, features_only=True, out_indices=tuple(indices[level] for level in levels)
    )
    if weights == "imagenet":
        with downloading(f"timm/{name}"):
            body = build(pretrained=True)
    elif weights == "none":
        body = build()
    else:
        with torch.random.fork_rng(devices=[]):
            state = read_weights(_timm_model(timm, name), weights)
        body = build(pretrained=True, pretrained_cfg_overlay={"state_dict": state})
        body.pretrained_cfg.pop("state_dict", None)
    normalise = body.pretrained_cfg
    mean, std = normalise.get("mean", IMAGENET_MEAN), normalise.get("std", IMAGENET_STD)
    return FeatureMaps(*_with_channels_first(body, f"timm/{name}", levels), tuple(mean), tuple(std))


def _timm(name: str) -> ModuleType:
    try:
        import timm
    except ImportError as error:
        raise BackboneError(f"timm/{name} needs timm: pip install 'nas-fpn[timm]'") from error
    if not timm.is_model(name):
        raise BackboneError(f"timm has no model {name!r}{_nearest(name, timm.list_models())}")
    return timm


@functools.cache
def _timm_indices(name: str) -> dict[int, int]:
    """Of each level's last map, its place among a timm model's maps; the random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        model = _timm_model(_timm(name), name, features_only=True)
    reductions = [info["reduction"] for info in model.feature_info.info]
    return {STRIDE_LEVELS[stride]: index for index, stride in enumerate(reductions) if stride in STRIDE_LEVELS}


def _timm_model(timm: ModuleType, name: str, **options: Any) -> Any:
    """A model that takes images of any size, where its class can be told to."""
    try:
        with contextlib.suppress(TypeError):
            return timm.create_model(name, **options, strict_img_size=False)
        return timm.create_model(name, **options)
    except RuntimeError as error:
        raise BackboneError(f"timm cannot build {name} as a backbone ({error}); choose another model") from error


def _stages(model: nn.Module, name: str) -> dict[int, str]:
    """The path of the last stage at each level that has one."""
    shadow = meta_copy(model)
    shapes: dict[str, tuple[int, ...]] = {}
    for path, module in shadow.named_modules():
        module.register_forward_hook(functools.partial(_note_shape, shapes, path))
    _run(shadow, name)
    levels = {path: level for path, shape in shapes.items() if (level := _level(shape)) is not None}
    return {levels[path]: path for path in _stage_paths(shadow, levels) if path in levels}


def _note_shape(shapes: dict[str, tuple[int, ...]], path: str, _module: nn.Module, _inputs: Any, output: Any) -> None:
    if isinstance(output, Tensor):
        shapes[path] = tuple(output.shape)


def _stage_paths(model: nn.Module, levels: dict[str, int], path: str = "") -> list[str]:
    """Paths of the outermost modules that stay at one level or go to the next, in the order of the model.

    Looking no further keeps out what is no stage's output: a ResNet's bottleneck reduces the channels before it goes to
    the next level.
    """
    found = []
    for name, child in model.named_children():
        inside = [level for key, level in levels.items() if f"{key}.".startswith(f"{path}{name}.")]
        if inside and max(inside) - min(inside) > 1 and any(child.children()):
            found += _stage_paths(child, levels, f"{path}{name}.")
        else:
            found.append(f"{path}{name}")
    return found


def _with_channels_first(body: nn.Module, name: str, levels: Sequence[int]) -> tuple[nn.Module, tuple[int, ...]]:
    """The body, giving maps (N, C, H, W), and their channels; the maps must be those of the levels."""
    shapes = [tuple(x.shape) for x in _run(meta_copy(body), name)]
    if [_level(shape) for shape in shapes] != list(levels):
        raise BackboneError(
            f"{name} gives maps {shapes} for an image of {PROBE[0]} x {PROBE[1]} px, neither (N, C, H / 2^l, W / 2^l) "
            f"nor (N, H / 2^l, W / 2^l, C) for the levels l = {_listed(levels)}; choose another model"
        )
    permuted = [_is_channels_last(shape) for shape in shapes]
    channels = tuple(shape[3 if last else 1] for shape, last in zip(shapes, permuted, strict=True))
    return (ChannelsFirst(body, permuted) if any(permuted) else body), channels


def _run(model: Callable[[Tensor], Any], name: str) -> Any:
    try:
        with torch.no_grad():
            return model(torch.empty(1, 3, *PROBE, device="meta"))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise BackboneError(
            f"{name} has no levels for images of any size: at {PROBE[0]} x {PROBE[1]} px it says {error}; choose a "
            "convolutional model"
        ) from error


def _level(shape: tuple[int, ...]) -> int | None:
    """The level whose map of the probe has this shape, with channels first or last."""
    sides = shape[1:3] if _is_channels_last(shape) else shape[2:]
    return _levels_of_sides().get(sides) if len(shape) == 4 else None


def _is_channels_last(shape: tuple[int, ...]) -> bool:
    known = _levels_of_sides()
    return len(shape) == 4 and shape[2:] not in known and shape[1:3] in known


@functools.cache
def _levels_of_sides() -> dict[tuple[int, ...], int]:
    """Height and width of the probe's map -> level."""
    return {(PROBE[0] // stride, PROBE[1] // stride): level for stride, level in STRIDE_LEVELS.items()}


def _nearest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3)
    return f"; did you mean {' or '.join(close)}?" if close else "; see its list_models()"


def _listed(levels: Sequence[int]) -> str:
    return ", ".join(map(str, levels))
