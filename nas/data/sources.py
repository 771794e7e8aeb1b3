"""The real material of the embedded data set: photographs and handwritten digits that come inside packages.

Photographs and digit instances are divided among the splits once and for all, so that no split ever shares
one with another, whatever the configuration.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nas.data.config import DataError

Floats = NDArray[np.float32]

SPLITS = ("train", "reward", "test")
DIGITS = (0, 1, 4)

PHOTOS: dict[str, tuple[str, ...]] = {
    "train": (
        "skimage.data/astronaut.png",
        "skimage.data/brick.png",
        "skimage.data/camera.png",
        "skimage.data/cell.png",
        "skimage.data/chelsea.png",
        "skimage.data/coffee.png",
        "skimage.data/gravel.png",
        "skimage.data/hubble_deep_field.jpg",
        "skimage.data/motorcycle_left.png",
        "sklearn.datasets.images/china.jpg",
    ),
    "reward": (
        "skimage.data/clock_motion.png",
        "skimage.data/coins.png",
        "skimage.data/grass.png",
        "skimage.data/rocket.jpg",
    ),
    "test": (
        "skimage.data/ihc.png",
        "skimage.data/moon.png",
        "skimage.data/retina.jpg",
        "sklearn.datasets.images/flower.jpg",
    ),
}
"""Split -> photographs as package/file. All lie in the wheels; none needs a download."""

_SHARES = {"train": (0.0, 0.6), "reward": (0.6, 0.8), "test": (0.8, 1.0)}
_DIVISION_SEED = 1904


@dataclass(frozen=True)
class Sources:
    """Material of one split."""

    photos: tuple[Image.Image, ...]
    """RGB photographs."""
    digits: dict[int, Floats]
    """Digit class -> instances (n, 8, 8), ink in 0..1."""


@cache
def load_sources(split: str) -> Sources:
    """Photographs and digits of one of `SPLITS`.

    Raises:
        DataError: if scikit-learn or scikit-image is missing.
    """
    photos = tuple(_open_photo(name) for name in PHOTOS[split])
    images, _ = _load_digits()
    indices = digit_indices(split)
    return Sources(photos, {digit: images[indices[digit]] for digit in DIGITS})


def digit_indices(split: str) -> dict[int, NDArray[np.int64]]:
    """Digit class -> the split's instances as indices into scikit-learn's `load_digits`."""
    _, classes = _load_digits()
    rng = np.random.default_rng(_DIVISION_SEED)
    shuffled = {digit: rng.permutation(np.flatnonzero(classes == digit)) for digit in DIGITS}
    low, high = _SHARES[split]
    return {digit: found[round(low * len(found)) : round(high * len(found))] for digit, found in shuffled.items()}


def _open_photo(name: str) -> Image.Image:
    package, file = name.split("/")
    try:
        with files(package).joinpath(file).open("rb") as stream:
            return Image.open(stream).convert("RGB")
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    except FileNotFoundError as error:
        raise DataError(
            f"the embedded data set needs the photograph {name}, which the installed {package} does not hold; "
            "install the tested versions: pip install 'nas-fpn[demo]'"
        ) from error


@cache
def _load_digits() -> tuple[Floats, NDArray[np.int64]]:
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    data: Any = load_digits()
    return (data.images / 16).astype(np.float32), data.target.astype(np.int64)


def _missing(error: ModuleNotFoundError) -> DataError:
    return DataError(
        f"the embedded data set is made of images in scikit-learn and scikit-image, but {error.name} is not "
        "installed; run: pip install 'nas-fpn[demo]'"
    )
