"""What a neck's topology leaves open: activation, convolution and norm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

from torch import nn

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "none": nn.Identity,
}
NORMS = ("batch", "none")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a merge cell transforms what it merged: activation -> 3x3 conv -> norm, nothing after.

    The defaults are those of TensorFlow's public NAS-FPN decoder.

    Args:
        activation: one of `ACTIVATIONS`, before the convolution.
        norm: `batch` or `none`, after every 3x3 and every lateral convolution.
        norm_eps: epsilon of the batch norm.
        norm_momentum: share of the newest batch in the running statistics (PyTorch's convention).
        conv_bias: bias on every convolution; redundant before a norm, but what the reference has.
        separable: 3x3 depthwise without bias, then pointwise, with nothing between (3x3 and laterals alike).
        lateral_always: a 1x1 lateral also where the channels already match; TensorFlow skips it there.

    Raises:
        ValueError: for an unknown activation or norm.
    """

    activation: str = "relu"
    norm: str = "batch"
    norm_eps: float = 1e-3
    norm_momentum: float = 0.01
    conv_bias: bool = True
    separable: bool = False
    lateral_always: bool = False

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {tuple(ACTIVATIONS)}, got {self.activation!r}")
        if self.norm not in NORMS:
            raise ValueError(f"norm must be one of {NORMS}, got {self.norm!r}")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Recipe:
        """Read what `to_dict` wrote.

        Raises:
            ValueError: for a field that this version does not know.
        """
        known = {field.name for field in fields(cls)}
        if unknown := set(data) - known:
            raise ValueError(f"recipe has unknown fields {sorted(unknown)}; known are {sorted(known)}")
        return cls(**data)


def conv(recipe: Recipe, in_channels: int, out_channels: int, kernel_size: int) -> nn.Module:
    """A stride-1 convolution that keeps the map's size, full or separable as the recipe says."""
    if not recipe.separable:
        return nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=recipe.conv_bias)
    depthwise = nn.Conv2d(
        in_channels, in_channels, kernel_size, padding=kernel_size // 2, groups=in_channels, bias=False
    )
    return nn.Sequential(depthwise, nn.Conv2d(in_channels, out_channels, 1, bias=recipe.conv_bias))


def norm(recipe: Recipe, channels: int) -> nn.Module:
    if recipe.norm == "none":
        return nn.Identity()
    return nn.BatchNorm2d(channels, eps=recipe.norm_eps, momentum=recipe.norm_momentum)


def transform(recipe: Recipe, channels: int) -> nn.Module:
    """activation -> 3x3 conv -> norm, as NAS-FPN orders them."""
    return nn.Sequential(ACTIVATIONS[recipe.activation](), conv(recipe, channels, channels, 3), norm(recipe, channels))
