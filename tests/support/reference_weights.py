"""Weights and maps that anyone can make again from a seed: what goldens and peers are fed with.

`numpy.random.RandomState` is frozen by NumPy's compatibility policy, so a golden file needs only outputs.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor


def random_state(shapes: Mapping[str, Sequence[int]], seed: int = 0) -> dict[str, Tensor]:
    """A value for every tensor of a state dict, from its name, shape and the seed alone.

    Nothing is left at a value that hides it: variances and scales lie in 0.5..1.5, means, biases and zero-initialised
    convolutions are random, fusion weights lie in 0.2..1.5.
    """
    return {name: _value(name, tuple(shape), seed) for name, shape in shapes.items()}


def random_maps(
    channels: Sequence[int], sizes: Sequence[tuple[int, int]], seed: int = 0, batch: int = 2
) -> OrderedDict[str, Tensor]:
    """Maps `m0`, `m1`, ... of the given channels and sizes (H, W)."""
    random = np.random.RandomState(seed)
    return OrderedDict(
        (f"m{index}", torch.from_numpy(random.standard_normal((batch, width, *size)).astype(np.float32)))
        for index, (width, size) in enumerate(zip(channels, sizes, strict=True))
    )


def pyramid_sizes(size: tuple[int, int], levels: Sequence[int]) -> list[tuple[int, int]]:
    """Map sizes of an image, each level rounded up."""
    return [(-(-size[0] // 2**level), -(-size[1] // 2**level)) for level in levels]


def _value(name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    random = np.random.RandomState((zlib.crc32(name.encode()) + seed) % 2**32)
    if name.endswith("num_batches_tracked"):
        return torch.tensor(0)
    if name.endswith(("running_var", "moving_variance", "gamma")) or (name.endswith("weight") and len(shape) == 1):
        value = random.uniform(0.5, 1.5, shape)
    elif "edge_weight" in name:
        value = random.uniform(0.2, 1.5, shape)
    elif len(shape) < 2:
        value = 0.2 * random.standard_normal(shape)
    else:
        fan_in = int(np.prod(_fan_in_axes(name, shape)))
        value = random.standard_normal(shape) / np.sqrt(fan_in)
    return torch.from_numpy(np.asarray(value, dtype=np.float32))


def _fan_in_axes(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """PyTorch's kernels are (out, in, H, W), TensorFlow's (H, W, in, out), its depthwise ones (H, W, C, 1)."""
    if name.endswith("weight"):
        return shape[1:]
    return shape[:2] if name.endswith("depthwise_kernel") else shape[:-1]
