"""Reading `goldens/`: per name an `.npz` of outputs and a `.json` that says how they were made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

GOLDENS = Path(__file__).parents[1] / "necks" / "goldens"
ROUNDING = {torch.float32: 1e-5, torch.float64: 1e-6}
"""Of what was computed in this type: other processors and layouts sum in other orders. Goldens are stored in single."""

DETECTOR_ROUNDING = 5e-5
"""Of a backbone, a neck and a head one after the other, in single precision."""


def read_golden(name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What its maker noted, and its outputs."""
    with np.load(GOLDENS / f"{name}.npz") as file:
        outputs = dict(file)
    return json.loads((GOLDENS / f"{name}.json").read_text()), outputs


def assert_equal_up_to_rounding(ours: Tensor, theirs: Tensor | np.ndarray, rounding: float | None = None) -> None:
    """Everywhere within `rounding` of the largest value of the map, or of 1; by default what `ours` was computed in."""
    expected = torch.as_tensor(theirs).to(ours.dtype)
    assert ours.shape == expected.shape
    tolerance = (rounding or ROUNDING[ours.dtype]) * max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(ours, expected, rtol=0, atol=tolerance)
