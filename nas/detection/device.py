"""Device that a detector is computed on."""

from __future__ import annotations

import torch


def pick_device(name: str) -> torch.device:
    """`auto` is the first GPU that this process sees, if any."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
