"""Resampling, merging and activation in one Triton kernel, for maps in channels_last on a GPU.

PyTorch's own max-pool takes most of a neck's time in that layout, which convolutions are quickest in; a kernel per
operation takes most of the rest. It has no gradients. Imported where Triton is there and used only.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from necks.choices import Activation
from necks.gpu.fit import Term, empty, on
from necks.gpu.pooling import block_of, largest_of
from necks.sizes import Size, size_of

SAME, UP, POOL = range(3)


def launch(terms: list[Term], size: Size, activation: Activation) -> Tensor:
    """`necks.kernels.merged` of maps in channels_last."""
    out = empty(terms[0].x, size)
    images, channels = out.shape[:2]
    pixels = images * size[0] * size[1]
    block_c = min(128, triton.next_power_of_2(channels))
    small = pixels * channels < 2**20 or any(term.window for term in terms)
    elements, warps = (256, 1) if small else (1024, 4)
    block_p = max(1, elements // block_c)
    given, ways = zip(*(_given(term, size) for term in terms), strict=True)
    with on(out.device):
        merged_terms[triton.cdiv(pixels, block_p), triton.cdiv(channels, block_c)](
            out,
            pixels,
            *size,
            given,
            sum(ways, ()),
            len(terms),
            channels,
            activation,
            block_p,
            block_c,
            num_warps=warps,
            enable_fp_fusion=True,
        )
    return out


def _given(term: Term, size: Size) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Arguments that may differ at each call, and those that the kernel is compiled for.

    The first is map, gate, weight, height, width and two numbers of the way to resample (rows and columns before the
    map, or steps in it); the second is gated, way, rows, columns and strides of the window, and its fill.
    """
    height, width = size_of(term.x)
    gated = int(term.gate is not None)
    given = term.x, term.gate if gated else term.x, float(term.weight), height, width
    if term.window is not None:
        kernel, stride, before, fill = term.window
        return (*given, *before), (gated, POOL, *kernel, *stride, fill)
    if (height, width) == size:
        return (*given, 0, 0), (gated, SAME, 1, 1, 1, 1, 0.0)
    return (*given, height / size[0], width / size[1]), (gated, UP, 1, 1, 1, 1, 0.0)


@triton.jit  # type: ignore[untyped-decorator]
def _term(term, image, row, column, channel, inside, ways: tl.constexpr, at: tl.constexpr, channels: tl.constexpr):  # type: ignore[no-untyped-def]
    x, gate, weight, height, width, a, b = term
    x += image.to(tl.int64) * (height * width * channels) + channel
    if ways[at + 1] == 2:
        top, left = row * ways[at + 4] - a, column * ways[at + 5] - b
        value, _ = largest_of(x, top, left, height, width, inside, ways[at + 2], ways[at + 3], ways[at + 6], channels)
    elif ways[at + 1] == 1:
        y = tl.minimum((row.to(tl.float32) * a).to(tl.int32), height - 1)
        z = tl.minimum((column.to(tl.float32) * b).to(tl.int32), width - 1)
        value = tl.load(x + (y * width + z) * channels, mask=inside, other=0.0).to(tl.float32)
    else:
        value = tl.load(x + (row * width + column) * channels, mask=inside, other=0.0).to(tl.float32)
    if ways[at + 0]:
        value *= tl.load(gate + image * channels + channel, mask=inside, other=0.0).to(tl.float32)
    return value * weight


@triton.jit  # type: ignore[untyped-decorator]
def merged_terms(  # type: ignore[no-untyped-def]
    out,
    pixels,
    height,
    width,
    terms,
    ways: tl.constexpr,
    count: tl.constexpr,
    channels: tl.constexpr,
    activation: tl.constexpr,
    block_p: tl.constexpr,
    block_c: tl.constexpr,
):
    """One block of pixels of all images by channels."""
    pixel, channel, inside = block_of(pixels, channels, block_p, block_c)
    image, row, column = pixel // (height * width), pixel // width % height, pixel % width
    total = _term(terms[0], image, row, column, channel, inside, ways, 0, channels)
    for index in tl.static_range(1, count):
        total += _term(terms[index], image, row, column, channel, inside, ways, 7 * index, channels)
    if activation == "relu":
        total = tl.maximum(total, 0.0, propagate_nan=tl.PropagateNan.ALL)
    elif activation == "silu":
        total = total / (1.0 + tl.exp(-total))
    else:
        tl.static_assert(activation == "none", "unknown activation")
    tl.store(out + pixel.to(tl.int64) * channels + channel, total.to(out.dtype.element_ty), mask=inside)
