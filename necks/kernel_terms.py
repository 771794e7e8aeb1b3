"""Merges of a neck's cells for inference on a GPU, as terms of one sum that one kernel computes."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from necks.choices import Activation
from necks.edge import Operand, Shared
from necks.gpu.fit import kernels_fit
from necks.gpu.term import Term
from necks.resample import pool_window
from necks.sizes import Size, size_of

LARGE = 2**24
"""From about this many values on, a GPU is still busy with a map when the next kernel is launched; an estimate."""


def usable(operands: Sequence[Operand], size: Size, known: set[Hashable]) -> bool:
    """True if the kernel computes these, and is faster: maps of one type on a GPU, nothing to learn.

    Its launch costs the host about as much as the launches of all that it replaces. That is hidden in a CUDA graph, and
    where the maps are large (`experiments/results/necks_gpu.md`). The first maps of a size always take it, so that
    it is compiled before a graph is recorded.

    Args:
        known: sizes seen before; those of `operands` are added.
    """
    x = operands[0].source
    if not kernels_fit(x) or torch.is_grad_enabled():
        return False
    if any(operand.source.dtype != x.dtype for operand in operands):
        return False
    key = (x.device, x.dtype, size, *[operand.source.shape for operand in operands])
    if key not in known:
        if _recording(x):
            return False
        known.add(key)
        return True
    return x.shape[0] * x.shape[1] * size[0] * size[1] >= LARGE or _recording(x)


def _recording(x: Tensor) -> bool:
    """True while a CUDA graph is recorded."""
    return x.is_cuda and torch.cuda.is_current_stream_capturing()


def merged(terms: Sequence[Term], size: Size, activation: Activation) -> Tensor:
    """The activation of the sum of all terms, (N, C, *size) in channels_last."""
    from necks.gpu.merging import launch

    return launch(
        [each._replace(x=each.x.contiguous(memory_format=torch.channels_last)) for each in terms], size, activation
    )


def term(operand: Operand, size: Size, shared: Shared, weight: float = 1.0, gate: Tensor | None = None) -> Term:
    """A cell's operand; what several cells take is pooled once, what no one window gives is resampled before."""
    edge, node, source = operand
    if edge.shift <= 0:
        return Term(source, None, weight, gate)
    window = None if edge.strides else pool_window(size_of(source), size, shift=edge.shift, down=edge.down)
    if window is None:
        return Term(operand.resized(size, shared).x, None, weight, gate)
    if not edge.shared:
        return Term(source, window, weight, gate)
    key = node, edge.shift
    if key not in shared.maps:
        shared.maps[key] = merged([Term(source, window)], size, "none")
    return Term(shared.maps[key], None, weight, gate)


def at_size(operand: Operand, size: Size, shared: Shared) -> Tensor:
    """The map of an operand at the cell's size."""
    found = term(operand, size, shared)
    return found.x if found.window is None and size_of(found.x) == size else merged([found], size, "none")
