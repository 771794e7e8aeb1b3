"""The part of an annotated box that its image shows."""

from __future__ import annotations

ROUNDING = 0.02
"""Pixels over the edge of an image that are rounding: COCO's boxes have two decimals."""
LEAST_SIDE = 0.01
"""Sides below, in pixels, are none: in single precision such a box may have no area."""


def visible_box(bbox: list[float], width: int, height: int) -> list[float] | None:
    """A box inside its image, which training and scoring both use; None if no area of it is.

    Boxes that reach over the edge by rounding only stay as they are annotated.

    Args:
        bbox: x, y, width, height in pixels.
        width, height: of the image.
    """
    x, y, w, h = bbox
    x1, y1, x2, y2 = max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)
    if x2 - x1 < LEAST_SIDE or y2 - y1 < LEAST_SIDE:
        return None
    if reach_over(bbox, width, height) <= ROUNDING:
        return bbox
    return [x1, y1, x2 - x1, y2 - y1]


def reach_over(bbox: list[float], width: int, height: int) -> float:
    """Pixels by which a box reaches over the edge of its image, at most."""
    x, y, w, h = bbox
    return max(-x, -y, x + w - width, y + h - height)
