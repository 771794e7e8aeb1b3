"""Blocks of a neck as the source of functions that build them, and where their tensors are found there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from nas.export.errors import ExportError
from necks.blocks import layers_of

WIDTH = "CHANNELS"
"""The constant of a generated file that holds the width of all its maps."""
IN_WIDTH, INPLACE = "in_channels", "inplace"


@dataclass(frozen=True)
class Block:
    """A block of layers in a row.

    Args:
        layers: source of each layer's constructor call.
        names: our name of each layer inside the block, in the same order.
        parameters: names that occur in them: `in_channels` in blocks that take maps of any width, `inplace` in those
            that begin with an activation.
    """

    layers: tuple[str, ...]
    names: tuple[str, ...]
    parameters: tuple[str, ...]

    def function(self, name: str) -> list[str]:
        """Source lines of a function that builds the block."""
        argument = ", ".join(f"{name}: {'int' if name == IN_WIDTH else 'bool'}" for name in self.parameters)
        if len(self.layers) == 1:
            kind = self.layers[0].partition("(")[0]
            return [f"def {name}({argument}) -> {kind}:", f"    return {self.layers[0]}"]
        lines = [f"        {layer}," for layer in self.layers]
        return [f"def {name}({argument}) -> nn.Sequential:", "    return nn.Sequential(", *lines, "    )"]

    def renamed(self, ours: str, theirs: str) -> dict[str, str]:
        """Our layer -> the layer in the generated module, for a block that has these names there."""
        if len(self.layers) == 1:
            return {f"{ours}.{self.names[0]}".rstrip("."): theirs}
        return {f"{ours}.{name}": f"{theirs}.{index}" for index, name in enumerate(self.names)}


def block_of(module: nn.Module, *, takes_width: bool = False) -> Block:
    """
    Raises:
        ExportError: for a layer of another kind than necks are made of.
    """
    width = IN_WIDTH if takes_width else WIDTH
    layers, names = [], []
    for name, layer in layers_of(module):
        if isinstance(layer, nn.Conv2d):
            after = width if name.endswith("depthwise") else WIDTH
            layers.append(_conv(layer, width, after))
            width = after
        else:
            layers.append(_plain(layer, INPLACE if not layers else ""))
        names.append(name)
    parameters = [IN_WIDTH] if takes_width else []
    return Block(tuple(layers), tuple(names), (*parameters, *([INPLACE] if layers[0].endswith(f"({INPLACE})") else [])))


def _conv(layer: nn.Conv2d, before: str, after: str) -> str:
    arguments = [before, after, _side(layer.kernel_size)]
    if layer.stride != (1, 1):
        arguments.append(f"stride={_side(layer.stride)}")
    if layer.padding != (0, 0):
        arguments.append(f"padding={_side(layer.padding)}")
    if layer.groups > 1:
        arguments.append(f"groups={before}")
    if layer.bias is None:
        arguments.append("bias=False")
    return f"nn.Conv2d({', '.join(arguments)})"


def _side(pair: Any) -> str:
    """One number for both axes; necks have no others."""
    return str(pair[0])


def _plain(layer: nn.Module, inplace: str) -> str:
    if isinstance(layer, nn.ReLU | nn.SiLU):
        return f"nn.{type(layer).__name__}({inplace})"
    if isinstance(layer, nn.BatchNorm2d):
        return f"nn.BatchNorm2d({WIDTH}, eps={layer.eps!r}, momentum={layer.momentum!r})"
    if isinstance(layer, nn.GroupNorm):
        return f"nn.GroupNorm({layer.num_groups}, {WIDTH}, eps={layer.eps!r})"
    raise ExportError(f"a {type(layer).__name__} cannot be written as source; take another format, such as pt2")
