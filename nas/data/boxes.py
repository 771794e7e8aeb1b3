"""Geometry of an annotated box in its image: x, y, width, height in pixels."""

from __future__ import annotations

LEAST_SIDE = 0.01
"""Least side of a box in pixels: one with a smaller side may have no area in single precision."""


def is_visible(bbox: list[float], width: int, height: int) -> bool:
    """True if a box has some area inside an image of this size."""
    x, y, w, h = bbox
    seen = min(x + w, width) - max(x, 0), min(y + h, height) - max(y, 0)
    return min(seen) >= LEAST_SIDE


def reach_over(bbox: list[float], width: int, height: int) -> float:
    """Pixels by which a box reaches over the edge of an image of this size, at most."""
    x, y, w, h = bbox
    return max(-x, -y, x + w - width, y + h - height)
