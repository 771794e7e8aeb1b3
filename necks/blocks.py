"""Convolution, norm and activation as a recipe asks for them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from itertools import islice

from torch import Tensor, nn

from necks.recipe import Recipe


class Chain(nn.Sequential):
    """A Sequential that leaves out what does nothing: the call of an `nn.Identity` costs as much as a small map."""

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """All modules from the one numbered `start` on."""
        for module in islice(self._modules.values(), start, None):
            if type(module) is not nn.Identity or module._forward_hooks:
                x = module(x)
        return x


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "none": nn.Identity,
}


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


def lateral(recipe: Recipe, in_channels: int, out_channels: int) -> Chain:
    """1x1 conv -> norm, no activation."""
    separable = recipe.separable if recipe.separable_laterals is None else recipe.separable_laterals
    bias = _linear_bias(recipe) or not recipe.lateral_norm
    pointwise = conv(in_channels, out_channels, 1, bias=bias, separable=separable)
    after = norm(recipe, out_channels) if recipe.lateral_norm else nn.Identity()
    return Chain(OrderedDict(conv=pointwise, norm=after))


def transform(recipe: Recipe, channels: int, *, linear: bool = False, stride: int = 1) -> Chain:
    """Activation, 3x3 conv and norm in the recipe's order; without the activation if `linear`."""
    bias = _linear_bias(recipe) if linear else recipe.conv_bias
    parts = OrderedDict(
        act=nn.Identity() if linear else ACTIVATIONS[recipe.activation](),
        conv=conv(channels, channels, 3, stride=stride, bias=bias, separable=recipe.separable),
        norm=norm(recipe, channels),
    )
    if recipe.order == "conv_norm_act":
        parts.move_to_end("act")
    return Chain(parts)


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
