"""Reading `goldens/`: per name an `.npz` of outputs and a `.json` that says how they were made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

GOLDENS = Path(__file__).parent / "goldens"


def read_golden(name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What its maker noted, and its outputs."""
    with np.load(GOLDENS / f"{name}.npz") as file:
        outputs = dict(file)
    return json.loads((GOLDENS / f"{name}.json").read_text()), outputs
