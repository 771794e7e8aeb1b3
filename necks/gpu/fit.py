"""Operands of the kernels, and devices and maps that they can be used on."""

from __future__ import annotations

import importlib.util
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from necks.sizes import Size, Window

DTYPES = (torch.float32, torch.bfloat16, torch.float16)


class Term(NamedTuple):
    """weight * gate * a map at the cell's size.

    Attributes:
        x: (N, C, h, w); a smaller map is repeated to the size, as `F.interpolate` with `nearest` does.
        gate: (N, C, 1, 1).
        window: of the max-pool that makes a larger map smaller; None for others.
    """

    x: Tensor
    weight: float = 1.0
    gate: Tensor | None = None
    window: Window | None = None


def kernels_fit(x: Tensor) -> bool:
    """True if the kernels can take this map in channels_last: it is on a GPU, and nothing traces it."""
    return (
        x.is_cuda
        and x.dtype in DTYPES
        and type(x) is Tensor
        and not torch.compiler.is_compiling()
        and not torch._C._get_tracing_state()
        and _triton_found()
    )


@cache
def _triton_found() -> bool:
    return importlib.util.find_spec("triton") is not None


def empty(like: Tensor, size: Size, dtype: torch.dtype | None = None) -> Tensor:
    """A map in channels_last to be filled, (N, C, *size) as of `like`."""
    shape, dtype = (*like.shape[:2], *size), dtype or like.dtype
    return torch.empty(shape, dtype=dtype, device=like.device, memory_format=torch.channels_last)


def on(device: torch.device) -> AbstractContextManager[object]:
    """Context in which Triton launches on a device: it takes the current one, and its interpreter has none."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
