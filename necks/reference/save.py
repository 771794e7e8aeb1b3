"""Our weights under the names of a public implementation."""

from __future__ import annotations

from torch import Tensor

from necks.contract import Neck
from necks.reference.load import SOURCES
from necks.reference.names import WeightsError

WRITTEN = ("torchvision", "mmdet", "effdet")
"""Sources that name each tensor once, in our layout; others share modules or keep kernels in another order."""


def reference_state(neck: Neck, source: str) -> dict[str, Tensor]:
    """The state dict that the public neck loads to compute what ours does; `load_reference` reads it back.

    Args:
        neck: one that was built after it, such as `nas_fpn@mmdet`.
        source: one of `WRITTEN`, which names key layout and conventions.

    Raises:
        WeightsError: for another source, or a neck that it does not have.
    """
    if source not in WRITTEN:
        raise WeightsError(f"weights are written for {', '.join(WRITTEN)}, not for {source!r}")
    sources = SOURCES[source](neck)
    state = neck.state_dict()
    if unknown := [name for name in state if name not in sources]:
        raise WeightsError(f"the {source} neck has no place for {', '.join(unknown)}")
    return {sources[name].names[0]: value.detach().clone() for name, value in state.items()}
