"""An image file's pixels as the annotations mean them."""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

PROGRAMS = ("EPS",)
"""Formats that Ghostscript renders by running the file's own program."""
ORIENTATION, SIDEWAYS = 0x0112, (5, 6, 7, 8)
"""EXIF's tag, and its values for images that lie on their side."""
DEEP_MODES = ("I", "F")
MAX_PIXELS = 178_956_970
"""Most pixels of an image unless more are allowed; Pillow's limit."""
UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    NotImplementedError,
    struct.error,
    Image.DecompressionBombError,
)
"""Errors of Pillow for files that are no images; a torn PNG file is a SyntaxError there."""

_opening = threading.Lock()
"""Held while Pillow's own limit on pixels, which is one for the whole process, is off."""


class UnreadableImageError(Exception):
    """A file that gives no pixels; the message says why."""


class WrongSizeError(Exception):
    """A file whose image has another size than stated; the message names both."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How pixels are read.

    Args:
        value_range: values of grey images with more than 8 bits that become 0 and 255; what lies beyond becomes the
            nearer of the two. None keeps the upper 8 of 16 bits, as OpenCV does.
        max_pixels: of an image; larger ones are refused.
    """

    value_range: tuple[float, float] | None = None
    max_pixels: int = MAX_PIXELS


USUAL = Reading()


@dataclass(frozen=True)
class Pixels:
    """An image as RGB of 8 bits, and the smallest and largest value of one that is stored with more bits."""

    image: Image.Image
    extremes: tuple[float, float] | None


def read_rgb(path: Path, width: int, height: int, reading: Reading = USUAL) -> Image.Image:
    """An image of any colour mode as RGB of 8 bits; see `read_pixels`."""
    return read_pixels(path, width, height, reading).image


def read_pixels(path: Path, width: int, height: int, reading: Reading = USUAL) -> Pixels:
    """An image of any colour mode as RGB of 8 bits.

    Greys, palettes and CMYK are converted, transparency is left out, more bits than 8 are scaled as `reading` says.

    The stated size decides what an EXIF orientation means, since annotators worked on either: pixels are taken as
    stored (as pycocotools' users and torchvision do) where that gives the size, else turned as EXIF says (as
    detectron2 does) where that gives it.

    Args:
        width, height: as the annotations state them.

    Raises:
        UnreadableImageError: for files that are missing, torn, no images, too large, or of 32 bits per pixel and
            channel where no range of values is given.
        WrongSizeError: if the image has another size, as stored and turned.
    """
    return _read(path, lambda image: _as_stated(image, width, height), reading)


def read_upright(path: Path, reading: Reading = USUAL) -> Image.Image:
    """An image of any colour mode as RGB of 8 bits, turned as its EXIF orientation says: as viewers show it.

    Raises:
        UnreadableImageError: as `read_pixels`.
    """
    return _read(path, ImageOps.exif_transpose, reading).image


def images_below(directory: Path) -> Iterable[Path]:
    """All files at any depth with the suffix of an image, in order; hidden ones are left out."""
    formats = Image.registered_extensions()
    known = {suffix for suffix, name in formats.items() if name in Image.OPEN and name not in PROGRAMS}
    for folder, folders, files in os.walk(directory):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (
            Path(folder) / name
            for name in sorted(files)
            if Path(name).suffix.lower() in known and not name.startswith(".")
        )


def upright_size(path: Path) -> tuple[int, int]:
    """Width and height of an image that is turned as its EXIF orientation says; its pixels are not read.

    Raises:
        UnreadableImageError: for a file that is no image.
    """
    try:
        with _open(path) as image:
            turned = image.getexif().get(ORIENTATION) in SIDEWAYS
            return (image.height, image.width) if turned else image.size
    except UNREADABLE as error:
        raise UnreadableImageError(f"cannot be read: {error}") from error


def greys(extremes: tuple[float, float], value_range: tuple[float, float] | None) -> tuple[int, int]:
    """Darkest and lightest of 256 greys that values of more than 8 bits become."""
    low, high = _to_eight_bits(np.asarray(extremes), value_range).tolist()
    return low, high


def _read(path: Path, turned: Callable[[Image.Image], Image.Image], reading: Reading) -> Pixels:
    if not path.is_file():
        raise UnreadableImageError("cannot be read: there is no plain file")
    try:
        with _open(path) as image:
            if image.format in PROGRAMS:
                raise UnreadableImageError(f"cannot be read: {image.format} is a program, not pixels; convert it")
            _check_pixels(image, reading.max_pixels)
            return _to_rgb(turned(image), reading.value_range)
    except UNREADABLE as error:
        raise UnreadableImageError(f"cannot be read: {error}") from error


def _open(path: Path) -> Image.Image:
    with _opening:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(path)
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _check_pixels(image: Image.Image, most: int) -> None:
    if image.width * image.height > most:
        raise UnreadableImageError(
            f"is too large: {image.width}x{image.height} = {image.width * image.height:,} pixels, of at most {most:,}; "
            "where it is trusted, set data.max_pixels to more (nasfpn evaluate and predict: --max-pixels)"
        )


def _as_stated(image: Image.Image, width: int, height: int) -> Image.Image:
    if image.size == (width, height):
        return image
    if image.size == (height, width):
        turned = ImageOps.exif_transpose(image)
        if turned.size == (width, height):
            return turned
    raise WrongSizeError(f"is {image.width}x{image.height} pixels, but stated as {width}x{height}")


def _to_rgb(image: Image.Image, value_range: tuple[float, float] | None) -> Pixels:
    if image.mode in DEEP_MODES and value_range is None:
        raise UnreadableImageError(
            "cannot be read: its pixels are 32-bit numbers, and no value is known to be white; set "
            "data.value_range, or store 8 or 16 bits"
        )
    if image.mode in DEEP_MODES or image.mode.startswith("I;16"):
        values = np.asarray(image)
        if not np.isfinite(values).all():
            raise UnreadableImageError("cannot be read: some of its pixels are not finite numbers; store others")
        grey = Image.fromarray(_to_eight_bits(values, value_range))
        return Pixels(grey.convert("RGB"), (float(values.min()), float(values.max())))
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return Pixels(image.convert("RGB"), None)


def _to_eight_bits(values: NDArray[np.generic], value_range: tuple[float, float] | None) -> NDArray[np.uint8]:
    if value_range is None:
        return (values.astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
    low, high = value_range
    scaled = (values.astype(np.float64) - low) * (255 / (high - low))
    return scaled.round().clip(0, 255).astype(np.uint8)
