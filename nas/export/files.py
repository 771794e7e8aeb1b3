"""The directory that an export is written to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nas.detection.saved import DETECTOR_FILE
from nas.detection.saved import WEIGHTS_FILE as DETECTOR_WEIGHTS_FILE
from nas.export.errors import ExportError
from nas.export.mmdet_file import MMDET_FILE, MMDET_WEIGHTS_FILE
from nas.export.python_file import PYTHON_FILE, WEIGHTS_FILE
from nas.export.suppression import SUPPRESSING_FILE
from nas.export.torchvision_file import TORCHVISION_FILE
from necks.exported import GENOTYPE_FILE, NECK_FILE
from necks.exported import WEIGHTS_FILE as NECK_WEIGHTS_FILE

CARD_FILE = "README.md"
PICTURE_FILE = "architecture.svg"
NECK_FILES = (GENOTYPE_FILE, NECK_FILE, NECK_WEIGHTS_FILE)
DETECTOR_FILES = (DETECTOR_FILE, DETECTOR_WEIGHTS_FILE)
GENERATED = (PYTHON_FILE, WEIGHTS_FILE, MMDET_FILE, MMDET_WEIGHTS_FILE, TORCHVISION_FILE)
TRACED = ("neck.onnx", "neck.pt2", "detector.onnx", SUPPRESSING_FILE, "detector.pt2")
ALL_FILES = frozenset((CARD_FILE, PICTURE_FILE, *NECK_FILES, *DETECTOR_FILES, *GENERATED, *TRACED))


def prepared(output: Path) -> Path:
    """The directory, made if need be; files of an earlier export are removed from it.

    Raises:
        ExportError: if it holds other things or cannot be written to.
    """
    if output.exists() and (not output.is_dir() or {entry.name for entry in output.iterdir()} - ALL_FILES):
        raise ExportError(f"{output} is not empty; give --output a new or empty directory")
    with written_to(output):
        output.mkdir(parents=True, exist_ok=True)
        for name in ALL_FILES:
            (output / name).unlink(missing_ok=True)
    return output


@contextmanager
def written_to(output: Path) -> Iterator[None]:
    """Turn a full disk, a missing permission and the like into one line.

    Raises:
        ExportError: for an error of the file system.
    """
    try:
        yield
    except OSError as error:
        raise ExportError(f"{output} cannot be written: {error}; make room or give --output another path") from error
