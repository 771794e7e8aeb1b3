"""Convolution, norm and activation as a recipe asks for them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from necks.recipe import Recipe

ACTIVATIONS: dict[str, tuple[Callable[[], nn.Module], Callable[[Tensor], Tensor]]] = {
    "relu": (nn.ReLU, F.relu_),
    "silu": (nn.SiLU, lambda x: F.silu(x, inplace=not x.requires_grad)),
    "none": (nn.Identity, lambda x: x),
}
"""Modules, and the same in the memory of the map unless a backward pass will read what was there."""


def conv(
    in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1, bias: bool, separable: bool
) -> nn.Module:
    """A convolution that keeps the map's size (ceil(size / stride)), full or as depthwise and pointwise."""
    padding = kernel_size // 2
    if not separable:
        return nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=bias)
    depthwise = nn.Conv2d(in_channels, in_channels, kernel_size, stride, padding, groups=in_channels, bias=False)
    pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=bias)
    return nn.Sequential(OrderedDict(depthwise=depthwise, pointwise=pointwise))


def norm(recipe: Recipe, channels: int) -> nn.Module:
    if recipe.norm == "none":
        return nn.Identity()
    if recipe.norm == "group":
        if channels % recipe.norm_groups:
            raise ValueError(
                f"a GroupNorm of norm_groups={recipe.norm_groups} needs channels divisible by that, got {channels}; "
                "take other out_channels or another norm_groups"
            )
        return nn.GroupNorm(recipe.norm_groups, channels, eps=recipe.norm_eps)
    return nn.BatchNorm2d(channels, eps=recipe.norm_eps, momentum=recipe.norm_momentum)


def lateral(recipe: Recipe, in_channels: int, out_channels: int) -> nn.Sequential:
    """1x1 conv -> norm, no activation."""
    separable = recipe.separable if recipe.separable_laterals is None else recipe.separable_laterals
    bias = _linear_bias(recipe) or not recipe.lateral_norm
    pointwise = conv(in_channels, out_channels, 1, bias=bias, separable=separable)
    after = norm(recipe, out_channels) if recipe.lateral_norm else nn.Identity()
    return nn.Sequential(OrderedDict(conv=pointwise, norm=after))


def transform(recipe: Recipe, channels: int, *, linear: bool = False, stride: int = 1) -> nn.Sequential:
    """Activation, 3x3 conv and norm in the recipe's order; without the activation if `linear`."""
    bias = _linear_bias(recipe) if linear else recipe.conv_bias
    parts = OrderedDict(
        act=nn.Identity() if linear else ACTIVATIONS[recipe.activation][0](),
        conv=conv(channels, channels, 3, stride=stride, bias=bias, separable=recipe.separable),
        norm=norm(recipe, channels),
    )
    if recipe.order == "conv_norm_act":
        parts.move_to_end("act")
    return nn.Sequential(parts)


def layers_of(block: nn.Module, name: str = "") -> list[tuple[str, nn.Module]]:
    """Layers of a block that do something, in the order that they run in, by their names below it.

    Args:
        name: of the block, which theirs begin with.
    """
    if isinstance(block, nn.Sequential) and type(block).forward is nn.Sequential.forward:
        start = f"{name}." if name else ""
        return [
            layer for part, child in zip(block._modules, block, strict=True) for layer in layers_of(child, start + part)
        ]
    return [] if isinstance(block, nn.Identity) else [(name, block)]


def initialise(recipe: Recipe, module: nn.Module) -> None:
    """Initialise a module's own convolution, if it is one."""
    if not isinstance(module, nn.Conv2d):
        return
    if recipe.init == "he_fan_out":
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif recipe.init == "caffe2_xavier":
        nn.init.kaiming_uniform_(module.weight, a=1)
    else:
        nn.init.xavier_uniform_(module.weight)
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def _linear_bias(recipe: Recipe) -> bool:
    return recipe.conv_bias if recipe.linear_bias is None else recipe.linear_bias
