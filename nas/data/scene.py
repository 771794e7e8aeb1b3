"""Positions and kinds of the plates and tiles of one "signs" image. Geometry only, nothing is drawn.

Every choice but `outline` and `digit` is drawn without knowing them, and those two are independent, so
position, size, rotation and number of tiles tell nothing about a class.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nas.data.config import SignsConfig
from nas.data.sources import DIGITS

OUTLINES = ("circle", "square", "diamond")
CLASSES = (*(f"plate_{digit}" for digit in DIGITS), *(f"tile_{outline}" for outline in OUTLINES))

MAX_ANGLE = 10.0  # degrees
MAX_OFFSET = 0.19  # of the plate's side, from its centre
MAX_BORDER = 5.0  # pixels
_MAX_TILE = 0.2  # of the plate's shorter side
# At every allowed angle the points with |x| + |y| <= 0.43 (in sides from the centre) lie inside every outline. Tiles
# keep within that of the outline less its border, so that none touches one.
_REACH = 0.43
_ATTEMPTS = 30


@dataclass(frozen=True)
class Box:
    """Whole pixels: left, top, width, height."""

    x: int
    y: int
    w: int
    h: int

    def apart(self, other: Box, gap: int) -> bool:
        """True if at least `gap` pixels lie between the boxes."""
        return (
            self.x + self.w + gap <= other.x
            or other.x + other.w + gap <= self.x
            or self.y + self.h + gap <= other.y
            or other.y + other.h + gap <= self.y
        )


@dataclass(frozen=True)
class Plate:
    """A sign: its box is tight around the drawn outline."""

    box: Box
    outline: int
    """Index into `OUTLINES`; decides the class of the tiles."""
    digit: int
    """Index into `DIGITS`; decides the class of the plate."""
    angle: float
    """Rotation of the outline in degrees."""
    tiles: tuple[Box, ...]

    @property
    def plate_class(self) -> int:
        return self.digit

    @property
    def tile_class(self) -> int:
        return len(DIGITS) + self.outline


def meanings(rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """Endless (outline, digit) pairs: shuffled rounds of all nine, so any prefix is balanced to one of each."""
    pairs = [(outline, digit) for outline in range(len(OUTLINES)) for digit in range(len(DIGITS))]
    while True:
        for index in rng.permutation(len(pairs)):
            yield pairs[index]


def compose(rng: np.random.Generator, config: SignsConfig, pairs: Iterator[tuple[int, int]]) -> tuple[Plate, ...]:
    """One to three plates that do not overlap, with one to three tiles each."""
    boxes: list[Box] = []
    count = int(rng.integers(1, 4))
    smallest, largest = config.plate_px
    sizes = [_log_uniform(rng, smallest, max(smallest, largest / count**0.5)) for _ in range(count)]
    for size in sorted(sizes, reverse=True):
        box = _place_plate(rng, config.image_size, size, boxes)
        if box is not None:
            boxes.append(box)
    plates = []
    for box in boxes:
        tiles = _place_tiles(rng, config, box)
        outline, digit = next(pairs)
        plates.append(Plate(box, outline, digit, rng.uniform(-MAX_ANGLE, MAX_ANGLE), tiles))
    return tuple(plates)


def _place_plate(rng: np.random.Generator, image_size: int, size: float, taken: Sequence[Box]) -> Box | None:
    """A box apart from those taken, or None after a bounded number of attempts; the first always succeeds."""
    for _ in range(_ATTEMPTS):
        stretch = _log_uniform(rng, 0.8, 1.25) ** 0.5
        w, h = round(size * stretch), round(size / stretch)
        x, y = rng.integers(0, image_size - w + 1), rng.integers(0, image_size - h + 1)
        box = Box(int(x), int(y), w, h)
        if all(box.apart(other, gap=3) for other in taken):
            return box
    return None


def _place_tiles(rng: np.random.Generator, config: SignsConfig, plate: Box) -> tuple[Box, ...]:
    """One to three tiles, fewer than drawn where they do not fit beside each other; the first always does."""
    short = min(plate.w, plate.h)
    largest = max(config.tile_px[0], min(config.tile_px[1], _MAX_TILE * short))
    reach = _REACH * (1 - 2 * MAX_BORDER / short) - 1 / short  # a pixel for rounding to whole ones
    count = rng.integers(1, 4)
    tiles: list[Box] = []
    for _ in range(_ATTEMPTS):
        side = rng.uniform(config.tile_px[0], largest)
        tile = _tile_box(plate, side, *_offset(rng, reach - side / short))
        if all(tile.apart(other, gap=1) for other in tiles):
            tiles.append(tile)
        if len(tiles) == count:
            break
    return tuple(tiles)


def _offset(rng: np.random.Generator, reach: float) -> tuple[float, float]:
    """A point within `MAX_OFFSET` on each axis, pulled towards the centre until |x| + |y| <= reach."""
    dx, dy = rng.uniform(-MAX_OFFSET, MAX_OFFSET, size=2)
    pull = min(1.0, reach / (abs(dx) + abs(dy)))
    return float(dx * pull), float(dy * pull)


def _tile_box(plate: Box, side: float, dx: float, dy: float) -> Box:
    size = round(side)
    x = plate.x + plate.w * (0.5 + dx) - size / 2
    y = plate.y + plate.h * (0.5 + dy) - size / 2
    return Box(round(x), round(y), size, size)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
