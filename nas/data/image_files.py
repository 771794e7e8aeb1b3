"""An image file's pixels as the annotations mean them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

PROGRAMS = ("EPS",)
"""Formats whose pixels come of running what the file says, by Ghostscript."""
DEEP_MODES = ("I", "F")
UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    NotImplementedError,
    struct.error,
    Image.DecompressionBombError,
)
"""What Pillow raises for files that are none; torn PNG files are a SyntaxError there."""


class UnreadableImageError(Exception):
    """A file that gives no pixels; the message says why."""


class WrongSizeError(Exception):
    """A file whose image has another size than stated; the message names both."""


def read_rgb(path: Path, width: int, height: int) -> Image.Image:
    """An image of any colour mode as RGB of 8 bits.

    Greys, palettes and CMYK are converted, transparency is left out, 16 bits keep their upper 8 (as OpenCV does).

    The stated size decides what an EXIF orientation means, since annotators worked on either: pixels are taken as
    stored (as pycocotools' users and torchvision do) where that gives the size, else turned as EXIF says (as
    detectron2 does) where that gives it.

    Args:
        width, height: as the annotations state them.

    Raises:
        UnreadableImageError: for files that are missing, torn, no images, or of 32 bits per pixel and channel.
        WrongSizeError: if the image has another size, as stored and turned.
    """
    if not path.is_file():
        raise UnreadableImageError("cannot be read: there is no plain file")
    try:
        with Image.open(path) as image:
            if image.format in PROGRAMS:
                raise UnreadableImageError(f"cannot be read: {image.format} is a program, not pixels; convert it")
            upright = _as_stated(image, width, height)
            return _to_rgb(upright)
    except UNREADABLE as error:
        raise UnreadableImageError(f"cannot be read: {error}") from error


def _as_stated(image: Image.Image, width: int, height: int) -> Image.Image:
    if image.size == (width, height):
        return image
    if image.size == (height, width):
        turned = ImageOps.exif_transpose(image)
        if turned.size == (width, height):
            return turned
    raise WrongSizeError(f"is {image.width}x{image.height} pixels, but stated as {width}x{height}")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in DEEP_MODES:
        raise UnreadableImageError(
            "cannot be read: its pixels are 32-bit numbers, of which nobody knows which is white; store 8 or 16 bits"
        )
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA").convert("RGB")
    return image.convert("RGB")
