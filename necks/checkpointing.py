"""Activation checkpointing: maps inside a module are computed anew in the backward pass instead of kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import cast

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import checkpoint


def recomputed(module: nn.Module, maps: Sequence[Tensor]) -> list[Tensor]:
    """Output of the module for the maps; the backward pass keeps only the maps and computes all else again.

    A batch counts once in the running statistics of norms, though it passes them twice.
    """

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _still_statistics(module)

    return cast(list[Tensor], checkpoint(module, maps, use_reentrant=False, context_fn=contexts))


@contextmanager
def _still_statistics(module: nn.Module) -> Iterator[None]:
    """Norms take the batch's statistics and leave the running ones; they save the same tensors as at first."""
    norms = [norm for norm in module.modules() if isinstance(norm, _NormBase)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
