"""Drawing of a "signs" image: photograph, plates, tiles, light and noise.

Colours, texture, light and noise are drawn without looking at any class.

Images are float32 arrays (height, width, 3) in 0..255 until the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from nas.data.scene import MAX_BORDER, OUTLINES, Box, Plate
from nas.data.sources import DIGITS, Floats, Sources

_SUPERSAMPLE = 3
_FIELD = 512  # side of the noise fields that textures and sensor noise are cut from


def draw(rng: np.random.Generator, size: int, plates: Sequence[Plate], sources: Sources) -> Image.Image:
    """The RGB image (size x size) of a composed scene."""
    image = _background(rng, size, sources.photos)
    for plate in plates:
        _draw_plate(rng, image, plate)
        digits = sources.digits[DIGITS[plate.digit]]
        instances = rng.choice(len(digits), size=len(plate.tiles), replace=False)
        for tile, instance in zip(plate.tiles, instances, strict=True):
            _draw_tile(rng, image, tile, digits[instance])
    image *= rng.uniform(0.7, 1.15)
    image += rng.uniform(0, 6) * _cut(rng, _white_field(), size, size)
    return Image.fromarray(np.clip(np.rint(image), 0, 255).astype(np.uint8))


def outline_mask(outline: str, box: Box, angle: float, inset: float = 0.0) -> Floats:
    """Coverage (box.h, box.w) in 0..1 of an outline that is rotated and then stretched to fill its box.

    Args:
        outline: one of `OUTLINES`.
        angle: degrees.
        inset: pixels by which the outline is smaller than the box on each side.
    """
    x, y = _unit_outline(outline, angle)
    scale = _SUPERSAMPLE
    x = (inset + (x + 0.5) * (box.w - 2 * inset)) * scale - 0.5
    y = (inset + (y + 0.5) * (box.h - 2 * inset)) * scale - 0.5
    canvas = Image.new("L", (box.w * scale, box.h * scale))
    ImageDraw.Draw(canvas).polygon(list(zip(x.tolist(), y.tolist(), strict=True)), fill=255)
    return np.asarray(canvas.reduce(scale), dtype=np.float32) / np.float32(255)


def _unit_outline(outline: str, angle: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Corners of the rotated outline, stretched so that it spans -0.5..0.5 on both axes."""
    corners = 64 if outline == "circle" else 4
    start = 45.0 if outline == "square" else 0.0
    turn = np.deg2rad(start + angle + np.arange(corners) * 360 / corners)
    x, y = np.cos(turn), np.sin(turn)
    return 0.5 * x / np.abs(x).max(), 0.5 * y / np.abs(y).max()


def _background(rng: np.random.Generator, size: int, photos: Sequence[Image.Image]) -> Floats:
    """A random square of a random photograph, at a random scale, perhaps mirrored."""
    photo = photos[int(rng.integers(len(photos)))]
    side = min(photo.size) * rng.uniform(0.4, 1.0)
    left, top = rng.uniform(0, photo.width - side), rng.uniform(0, photo.height - side)
    region = (left, top, left + side, top + side)
    image = np.asarray(photo.resize((size, size), Image.Resampling.BILINEAR, box=region), dtype=np.float32)
    return np.array(image[:, ::-1] if rng.random() < 0.5 else image)


def _draw_plate(rng: np.random.Generator, image: Floats, plate: Plate) -> None:
    """Paint a textured fill with a border of another colour into the image."""
    box, outline = plate.box, OUTLINES[plate.outline]
    texture = _cut(rng, _smooth_field(), box.h, box.w) * rng.uniform(0, 25)
    fill = rng.uniform(50, 205, size=3).astype(np.float32) + texture
    border = rng.uniform(20, 235, size=3).astype(np.float32)
    inner = outline_mask(outline, box, plate.angle, inset=rng.uniform(2, MAX_BORDER))[..., None]
    paint = inner * fill + (1 - inner) * border
    _blend(image, box, paint, outline_mask(outline, box, plate.angle)[..., None])


def _draw_tile(rng: np.random.Generator, image: Floats, tile: Box, digit: Floats) -> None:
    """Paint a light or dark square with one handwritten digit in the opposite ink into the image."""
    light, dark = rng.uniform(190, 250), rng.uniform(5, 65)
    ground, ink = (light, dark) if rng.random() < 0.5 else (dark, light)
    tint = rng.uniform(-15, 15, size=(2, 3)).astype(np.float32)
    room = tile.w * rng.uniform(0.8, 0.96)
    left, top = rng.uniform(0, tile.w - room, size=2)
    # The inverse map of placing the 8 x 8 digit with its corner at (left, top) and `room` pixels wide.
    scale = digit.shape[1] / room
    placed = Image.fromarray(digit).transform(
        (tile.w, tile.h),
        Image.Transform.AFFINE,
        (scale, 0, -left * scale, 0, scale, -top * scale),
        Image.Resampling.BICUBIC,
    )
    strength = np.clip(np.asarray(placed) * rng.uniform(0.85, 1.25), 0, 1)[..., None]
    paint = (1 - strength) * (ground + tint[0]) + strength * (ink + tint[1])
    _blend(image, tile, paint, np.ones((tile.h, tile.w, 1), dtype=np.float32))


def _blend(image: Floats, box: Box, paint: Floats, cover: Floats) -> None:
    region = image[box.y : box.y + box.h, box.x : box.x + box.w]
    region += cover * (paint - region)


def _cut(rng: np.random.Generator, field: Floats, height: int, width: int) -> Floats:
    """A random window (height, width, channels) of a noise field; it wraps around if it is larger than the field."""
    top = int(rng.integers(max(1, _FIELD - height + 1)))
    left = int(rng.integers(max(1, _FIELD - width + 1)))
    rows, columns = (top + np.arange(height)) % _FIELD, (left + np.arange(width)) % _FIELD
    return field[rows[:, None], columns[None, :]]


@cache
def _white_field() -> Floats:
    """Independent noise of unit variance, (_FIELD, _FIELD, 3)."""
    return np.random.default_rng(7).standard_normal((_FIELD, _FIELD, 3), dtype=np.float32)


@cache
def _smooth_field() -> Floats:
    """Grey noise of unit variance at several scales, (_FIELD, _FIELD, 1)."""
    rng = np.random.default_rng(8)
    total = np.zeros((_FIELD, _FIELD), dtype=np.float32)
    for cells in (16, 64, 256):
        coarse = Image.fromarray(rng.standard_normal((cells, cells), dtype=np.float32))
        total += np.asarray(coarse.resize((_FIELD, _FIELD), Image.Resampling.BICUBIC))
    return (total / total.std())[..., None]
