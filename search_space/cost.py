"""Parameters and multiply-adds, computed from a genotype in microseconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from search_space.genotype import Genotype

Size = tuple[int, int]
"""Height, width."""
WEIGHTED = ("fast_normalized", "softmax")


@dataclass(frozen=True)
class Cost:
    params: int
    """Weights, biases and norms' scales and shifts; running statistics not counted."""

    macs: int
    """Multiply-adds of convolutions for one image; norms, merges and resampling are not counted."""


@dataclass(frozen=True)
class _Conv:
    """Cost of one convolution (depthwise and pointwise, if separable) and its norm."""

    weights: int
    others: int

    @classmethod
    def of(cls, in_channels: int, channels: int, kernel_size: int, *, separable: bool, bias: bool, norm: bool) -> _Conv:
        area = kernel_size**2
        weights = in_channels * (area + channels) if separable else in_channels * channels * area
        return cls(weights, channels * (bias + 2 * norm))

    @property
    def params(self) -> int:
        return self.weights + self.others


def genotype_cost(
    genotype: Genotype,
    *,
    channels: int,
    in_channels: Sequence[int],
    in_sizes: Sequence[Size],
    repeats: int = 1,
    norm: bool = True,
    conv_bias: bool = True,
    linear_bias: bool | None = None,
    separable: bool = False,
    separable_laterals: bool | None = None,
    lateral_always: bool = False,
    lateral_norm: bool = True,
) -> Cost:
    """Cost of a `necks.MergeNeck`, its stem included; the flags are the fields of a recipe, `norm` aside.

    For recipes with weightless edges and extra levels: `laterals="stem"`, `down` other than `"conv"`,
    `extra_inputs="max_pool"`, and no output levels beyond the genotype's. Other fields cost nothing. Cells that no
    output depends on are not counted.

    Args:
        channels: of every map of the neck.
        in_channels: of the backbone's maps, which are the finest levels of the genotype.
        in_sizes: their sizes; each further level has half the size of the one before, rounded up.
        repeats: stacked copies, each with its own weights.
        norm: whether each convolution has a norm with scale and shift.

    Raises:
        ValueError: for as many channels and sizes as do not fit the levels, or a count that is not positive.
    """
    _check(genotype, channels, in_channels, in_sizes, repeats)
    plain = conv_bias if linear_bias is None else linear_bias
    separate = separable if separable_laterals is None else separable_laterals
    pixels = _pixels(in_sizes, len(genotype.levels))
    convs = {
        transform: _Conv.of(channels, channels, 3, separable=separable, bias=bias, norm=norm)
        for transform, bias in (("conv", conv_bias), ("linear", plain))
    }
    bias, normed = plain or not lateral_norm, norm and lateral_norm
    laterals = [
        (_Conv.of(width, channels, 1, separable=separate, bias=bias, norm=normed), area)
        for width, area in zip(in_channels, pixels, strict=False)
        if lateral_always or width != channels
    ]
    cells = _pyramid(genotype, convs, dict(zip(genotype.levels, pixels, strict=True)))
    return Cost(
        sum(conv.params for conv, _ in laterals) + repeats * cells.params,
        sum(conv.weights * area for conv, area in laterals) + repeats * cells.macs,
    )


def level_sizes(image_size: Size, levels: Sequence[int]) -> list[Size]:
    """Sizes of a backbone's maps that halve at every level, borders included: ceil(side / 2^level)."""
    return [(-(-image_size[0] // 2**level), -(-image_size[1] // 2**level)) for level in levels]


def _pyramid(genotype: Genotype, convs: dict[str, _Conv], pixels: dict[int, int]) -> Cost:
    """One pass over the live cells."""
    first = len(genotype.levels)
    live = [genotype.cells[node - first] for node in genotype.live_nodes if node >= first]
    counts = Counter((cell.transform, cell.level) for cell in live if cell.transform != "none")
    weights = sum(len(cell.inputs) for cell in live if cell.merge in WEIGHTED)
    return Cost(
        weights + sum(count * convs[transform].params for (transform, _), count in counts.items()),
        sum(count * convs[transform].weights * pixels[level] for (transform, level), count in counts.items()),
    )


def _pixels(in_sizes: Sequence[Size], count: int) -> list[int]:
    sizes = list(in_sizes)
    while len(sizes) < count:
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
    return [height * width for height, width in sizes]


def _check(
    genotype: Genotype, channels: int, in_channels: Sequence[int], in_sizes: Sequence[Size], repeats: int
) -> None:
    if not 1 <= len(in_channels) == len(in_sizes) <= len(genotype.levels):
        raise ValueError(
            f"in_channels and in_sizes must have one entry for each of the finest levels of {genotype.levels}; "
            f"got {len(in_channels)} and {len(in_sizes)}"
        )
    if min(channels, repeats, *in_channels, *(side for size in in_sizes for side in size)) < 1:
        raise ValueError("channels, in_channels, in_sizes and repeats must be positive")
