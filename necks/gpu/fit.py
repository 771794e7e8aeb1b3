"""Conditions for the use of the kernels."""

from __future__ import annotations

import importlib.util
from contextlib import AbstractContextManager, nullcontext
from functools import cache

import torch
from torch import Tensor

DTYPES = (torch.float32, torch.bfloat16, torch.float16)


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


def on(device: torch.device) -> AbstractContextManager[object]:
    """Where Triton launches, which takes the current device; its interpreter has none."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
