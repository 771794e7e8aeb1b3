"""Public necks, as their packages have them. Needs the packages of the extra `bench`, when called."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from typing import Any

from torch import nn


def mmdet_neck(kind: str, **arguments: Any) -> nn.Module:
    """A neck of mmdetection; its compiled operators, which no neck here needs, are stood in for."""
    if "mmcv._ext" not in sys.modules:
        stand_in = types.ModuleType("mmcv._ext")
        stand_in.__spec__ = ModuleSpec("mmcv._ext", None)
        stand_in.__getattr__ = _no_operator  # type: ignore[method-assign]
        sys.modules["mmcv._ext"] = stand_in
    from mmdet.models import necks

    neck: nn.Module = getattr(necks, kind)(**arguments)
    return neck


def effdet_bifpn(
    image: tuple[int, int],
    *,
    in_channels: Sequence[int],
    channels: int,
    repeats: int,
    model: str = "efficientdet_d0",
    graph: str = "bifpn_fa",
) -> nn.Module:
    """effdet's BiFPN for backbone maps at strides 8, 16 and 32 of images (H, W); `model` says which padding it has."""
    from effdet.config import get_efficientdet_config, set_config_writeable
    from effdet.efficientdet import BiFpn

    config = get_efficientdet_config(model)
    set_config_writeable(config)
    config.fpn_channels, config.fpn_cell_repeats = channels, repeats
    config.image_size, config.fpn_name, config.fpn_config = image, graph, None
    reductions = zip(in_channels, (8, 16, 32), strict=True)
    neck: nn.Module = BiFpn(
        config, [{"num_chs": channels, "reduction": reduction} for channels, reduction in reductions]
    )
    return neck


def _no_operator(name: str) -> Callable[..., Any]:
    if name.startswith("__"):
        raise AttributeError(name)

    def refuse(*_: Any, **__: Any) -> None:
        raise NotImplementedError(name)

    return refuse
