"""What an image shows of an annotated box: x, y, width, height in pixels."""

from __future__ import annotations

LEAST_SIDE = 0.01
"""Sides below, in pixels, are none: in single precision such a box may have no area."""


def is_visible(bbox: list[float], width: int, height: int) -> bool:
    """Whether a box has some area inside an image of this size."""
    x, y, w, h = bbox
    seen = min(x + w, width) - max(x, 0), min(y + h, height) - max(y, 0)
    return min(seen) >= LEAST_SIDE


def reach_over(bbox: list[float], width: int, height: int) -> float:
    """Pixels by which a box reaches over the edge of an image of this size, at most."""
    x, y, w, h = bbox
    return max(-x, -y, x + w - width, y + h - height)
