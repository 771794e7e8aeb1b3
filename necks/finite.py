"""Whether weights are numbers: those of a training that diverged are not, and make every output NaN."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


class WeightsNotFiniteError(ValueError):
    """Weights with NaN or infinity among them; the message names the tensor."""


def require_finite(weights: Mapping[str, Tensor], where: str) -> None:
    """
    Args:
        where: what has the weights, for the error.

    Raises:
        WeightsNotFiniteError: if a number in them is not finite.
    """
    for name, value in weights.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise WeightsNotFiniteError(
                f"{where} has weights that are no finite numbers ({name}): its training has diverged; take another "
                "one, or train again with a lower learning rate"
            )
