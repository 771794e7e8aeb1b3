"""Max-pooling with gradients in Triton, for maps in channels_last on a GPU, where PyTorch's own is many times slower.

Imported where Triton is there and used only.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from necks.gpu.fit import empty, on
from necks.sizes import Size, Window, size_of

BLOCK_C = 128
ELEMENTS = 256


class MaxPool(torch.autograd.Function):
    """(N, C, h, w) to (N, C, *size); the gradient goes to the first largest of a window, as in `F.max_pool2d`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, size: Size, window: Window) -> Tensor:
        out, found = empty(x, size), empty(x, size, torch.int16)
        _launch(max_pool_forward, out, (x, out, found), size_of(x), size, window)
        ctx.save_for_backward(found)
        ctx.size, ctx.window = size_of(x), window
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (found,) = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        out = empty(gradient, ctx.size)
        _launch(max_pool_backward, out, (gradient, out, found), ctx.size, size_of(gradient), ctx.window)
        return out, None, None


def max_pool(x: Tensor, size: Size, window: Window) -> Tensor:
    """Max-pool of a map in channels_last, with a window of `necks.sizes.pool_window`."""
    pooled: Tensor = MaxPool.apply(x, size, window)
    return pooled


def _launch(
    kernel: Any, result: Tensor, maps: tuple[Tensor, Tensor, Tensor], large: Size, small: Size, window: Window
) -> None:
    images, channels, height, width = result.shape
    block_c = min(BLOCK_C, triton.next_power_of_2(channels))
    block_p = max(1, ELEMENTS // block_c)
    pixels = images * height * width
    with on(result.device):
        kernel[triton.cdiv(pixels, block_p), triton.cdiv(channels, block_c)](
            *maps,
            pixels,
            *large,
            *small,
            *window.before,
            *window.kernel,
            *window.stride,
            window.fill,
            channels,
            block_p,
            block_c,
            num_warps=1,
            enable_fp_fusion=True,
        )


@triton.jit  # type: ignore[untyped-decorator]
def block_of(pixels, channels, block_p: tl.constexpr, block_c: tl.constexpr):  # type: ignore[no-untyped-def]
    """The pixels of all images and the channels that a program computes, and which of them there are."""
    pixel = (tl.program_id(0) * block_p + tl.arange(0, block_p))[:, None]
    channel = (tl.program_id(1) * block_c + tl.arange(0, block_c))[None, :]
    inside = (pixel < pixels) & (channel < channels)
    return pixel, channel, inside


@triton.jit  # type: ignore[untyped-decorator]
def largest_of(  # type: ignore[no-untyped-def]
    x,
    top,
    left,
    height,
    width,
    inside,
    rows: tl.constexpr,
    columns: tl.constexpr,
    fill: tl.constexpr,
    channels: tl.constexpr,
):
    """The largest value of each window, and where in the window it is first; a NaN is larger than all."""
    largest = tl.full(inside.shape, float("-inf"), tl.float32)
    at = tl.full(inside.shape, 0, tl.int32)
    for i in range(rows):
        y = top + i
        within = inside & (y >= 0) & (y < height)
        for j in tl.static_range(columns):
            z = left + j
            seen = tl.load(x + (y * width + z) * channels, mask=within & (z >= 0) & (z < width), other=fill)
            seen = seen.to(tl.float32)
            better = (seen > largest) | (seen != seen)
            largest = tl.where(better, seen, largest)
            at = tl.where(better, i * columns + j, at)
    return largest, at


@triton.jit  # type: ignore[untyped-decorator]
def max_pool_forward(  # type: ignore[no-untyped-def]
    x,
    out,
    found,
    pixels,
    height,
    width,
    out_height,
    out_width,
    top,
    left,
    rows: tl.constexpr,
    columns: tl.constexpr,
    row_stride: tl.constexpr,
    column_stride: tl.constexpr,
    fill: tl.constexpr,
    channels: tl.constexpr,
    block_p: tl.constexpr,
    block_c: tl.constexpr,
):
    """One block of results, pixels of all images by channels."""
    pixel, channel, inside = block_of(pixels, channels, block_p, block_c)
    image, row, column = pixel // (out_height * out_width), pixel // out_width % out_height, pixel % out_width
    x += image.to(tl.int64) * (height * width * channels) + channel
    top, left = row * row_stride - top, column * column_stride - left
    largest, at = largest_of(x, top, left, height, width, inside, rows, columns, fill, channels)
    place = pixel.to(tl.int64) * channels + channel
    tl.store(out + place, largest.to(out.dtype.element_ty), mask=inside)
    tl.store(found + place, at.to(tl.int16), mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def max_pool_backward(  # type: ignore[no-untyped-def]
    gradient,
    out,
    found,
    pixels,
    height,
    width,
    out_height,
    out_width,
    top,
    left,
    rows: tl.constexpr,
    columns: tl.constexpr,
    row_stride: tl.constexpr,
    column_stride: tl.constexpr,
    fill: tl.constexpr,
    channels: tl.constexpr,
    block_p: tl.constexpr,
    block_c: tl.constexpr,
):
    """One block of the pooled map's gradient: each pixel gathers from the windows that it lies in."""
    pixel, channel, inside = block_of(pixels, channels, block_p, block_c)
    image, row, column = pixel // (height * width), pixel // width % height + top, pixel % width + left
    start = image.to(tl.int64) * (out_height * out_width * channels) + channel
    total = tl.full((block_p, block_c), 0.0, tl.float32)
    for i in tl.static_range((rows + row_stride - 1) // row_stride):
        y = row // row_stride - i
        in_row = row - y * row_stride
        within = inside & (y >= 0) & (y < out_height) & (in_row < rows)
        for j in tl.static_range((columns + column_stride - 1) // column_stride):
            z = column // column_stride - j
            in_column = column - z * column_stride
            there = within & (z >= 0) & (z < out_width) & (in_column < columns)
            place = start + (y * out_width + z) * channels
            at = tl.load(found + place, mask=there, other=-1).to(tl.int32)
            value = tl.load(gradient + place, mask=there & (at == in_row * columns + in_column), other=0.0)
            total += value.to(tl.float32)
    tl.store(out + pixel.to(tl.int64) * channels + channel, total.to(out.dtype.element_ty), mask=inside)
