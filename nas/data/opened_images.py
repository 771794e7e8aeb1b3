"""Every image of a split opened once for each version of it, with the outcome kept beside the data."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from nas.atomic_write import atomic_write
from nas.data.image_files import Reading, UnreadableImageError, WrongSizeError, greys, read_pixels
from nas.data.problems import Findings

CACHE_DIR = ".cache"
"""Directory in a data set's root for what is computed once for all searches on it."""
VERSION = 1
"""Version of the checks; outcomes of other versions are not used."""
FEWEST_GREYS = 64
"""Fewest greys, of 256: images of more bits that are reduced to fewer have lost their contents."""

Told = Callable[[int, int], None]
"""Callback with the number of images opened so far, and of all."""


@dataclass
class Outcome:
    """Result of opening all images of a split.

    Args:
        unreadable, wrong_sizes: image id -> why.
        extremes: smallest and largest value of all images with more than 8 bits, if there are any.
        deep: the number of these.
    """

    unreadable: dict[int, str] = field(default_factory=dict)
    wrong_sizes: dict[int, str] = field(default_factory=dict)
    extremes: tuple[float, float] | None = None
    deep: int = 0

    @property
    def is_good(self) -> bool:
        """True if every image could be read and has the stated size."""
        return not (self.unreadable or self.wrong_sizes)

    def add(self, image: int, found: str | WrongSizeError | tuple[float, float] | None) -> None:
        if isinstance(found, WrongSizeError):
            self.wrong_sizes[image] = str(found)
        elif isinstance(found, str):
            self.unreadable[image] = found
        elif found is not None:
            low, high = self.extremes or found
            self.extremes = min(low, found[0]), max(high, found[1])
            self.deep += 1


Images = Mapping[int, tuple[Path, Mapping[str, Any]]]
"""Image id -> its file and its entry in the annotations."""


def open_images(
    images: Images, reading: Reading, root: Path, told: Told = lambda done, all: None, *, anew: bool = False
) -> Outcome:
    """The outcome for this version of the images: from the cache under `root`, or found now and kept there.

    Of several processes one opens the images while the others wait. Only good outcomes are kept, since an image on a
    network's disk may be unreadable for a moment. Where the cache cannot be written to, nothing is kept. A version is
    known by the entries' sizes, the reading, and the size and time of every file.

    Args:
        anew: whether the images are opened in any case.
    """
    path = root / CACHE_DIR / f"opened-{_version(images, reading)}.json"
    with contextlib.ExitStack() as stack:
        try:
            path.parent.mkdir(exist_ok=True)
            stack.enter_context(FileLock(f"{path}.lock"))
        except OSError:
            return _opened(images, reading, told)
        kept = None if anew else _kept(path)
        if kept is not None:
            return kept
        outcome = _opened(images, reading, told)
        if outcome.is_good:
            with contextlib.suppress(OSError):
                atomic_write(path, json.dumps({"extremes": outcome.extremes, "deep": outcome.deep}))
        return outcome


def report(outcome: Outcome, where: Mapping[int, str], annotations: Path, reading: Reading, findings: Findings) -> None:
    """Report an outcome.

    Args:
        where: image id -> how a message begins.
        annotations: the file, for what concerns all images.
    """
    for image, why in outcome.unreadable.items():
        findings.error("unreadable images", f"{where[image]} {why}; copy it again or remove the entry")
    for image, why in outcome.wrong_sizes.items():
        findings.error("wrong sizes", f"{where[image]} {why}; annotate the stored image")
    if outcome.extremes is None:
        return
    darkest, lightest = greys(outcome.extremes, reading.value_range)
    if lightest - darkest + 1 < FEWEST_GREYS:
        low, high = outcome.extremes
        findings.warning(
            "narrow range",
            f"{annotations}: the {outcome.deep} images of more than 8 bits hold values {low:g}..{high:g}, which become "
            f"greys {darkest}..{lightest} of 0..255, so contrast is lost; set data.value_range=[{low:g},{high:g}]",
        )


def _version(images: Images, reading: Reading) -> str:
    found = hashlib.sha256(f"{VERSION} {reading}".encode())
    for image, (path, entry) in sorted(images.items()):
        status = path.stat()
        stated = f"{image}:{entry['width']}:{entry['height']}:{status.st_size}:{status.st_mtime_ns}"
        found.update(f"{stated}:{entry['file_name']!r};".encode(errors="replace"))
    return found.hexdigest()[:32]


def _kept(path: Path) -> Outcome | None:
    """A kept outcome, which is good; None if there is none that is whole."""
    try:
        content = json.loads(path.read_text())
        extremes = content["extremes"]
        extremes = None if extremes is None else (float(extremes[0]), float(extremes[1]))
        return Outcome(extremes=extremes, deep=int(content["deep"]))
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def _opened(images: Images, reading: Reading, told: Told) -> Outcome:
    outcome = Outcome()
    for done, (image, found) in enumerate(_each(images, reading), start=1):
        outcome.add(image, found)
        told(done, len(images))
    return outcome


def _each(images: Images, reading: Reading) -> Iterator[tuple[int, str | WrongSizeError | tuple[float, float] | None]]:
    """Result for each image in order, several opened at once: Pillow decodes without the GIL."""

    def look(image: int) -> str | WrongSizeError | tuple[float, float] | None:
        path, entry = images[image]
        try:
            return read_pixels(path, entry["width"], entry["height"], reading).extremes
        except UnreadableImageError as error:
            return str(error)
        except WrongSizeError as error:
            return error

    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        yield from zip(images, pool.map(look, images), strict=True)
    finally:
        pool.shutdown(cancel_futures=True)
