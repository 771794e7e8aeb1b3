"""Shares of a neck's time, by what an operation is for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

PASSES = 5
KINDS = {
    "norm": ("batch_norm", "cudnn_batch", "native_batch", "bn_"),
    "layout": ("copy", "clone", "contiguous", "nchwtonhwc", "nhwctonchw"),
    "convolution": ("conv", "thnn", "xmma", "gemm", "nvjet", "wgrad", "dgrad"),
    "resampling": ("upsample", "max_pool", "pad"),
    "activation": ("relu", "silu", "threshold", "clamp", "sigmoid"),
    "merging": ("merged_terms", "add", "mul", "sum", "mean", "amax", "maxops", "div"),
}
"""Parts of names of operations, on a GPU of kernels; the first that fits. What fits none is `other`: allocation, views,
Python between."""


def shares_of_time(step: Callable[[], object]) -> dict[str, float]:
    """Shares of the self time of all operations, on a GPU of all kernels."""
    for _ in range(2):
        step()
    gpu = torch.cuda.is_available()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]
    with profile(activities=activities) as profiler:
        for _ in range(PASSES):
            step()
        if gpu:
            torch.cuda.synchronize()
    time: Counter[str] = Counter()
    for event in profiler.key_averages():
        if not gpu:
            time[kind_of(event.key)] += event.self_cpu_time_total
        elif event.device_type.name != "CPU":
            time[kind_of(event.key)] += event.self_device_time_total
    return {kind: time[kind] / time.total() for kind in (*KINDS, "other")}


def kind_of(operation: str) -> str:
    name = operation.lower()
    return next((kind for kind, parts in KINDS.items() if any(part in name for part in parts)), "other")
