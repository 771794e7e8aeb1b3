"""The directory that an export is written to."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from nas.detection.saved import DETECTOR_FILE
from nas.detection.saved import WEIGHTS_FILE as DETECTOR_WEIGHTS_FILE
from nas.export.errors import ExportError
from nas.export.mmdet_file import MMDET_FILE, MMDET_WEIGHTS_FILE
from nas.export.python_file import PYTHON_FILE, WEIGHTS_FILE
from nas.export.torchvision_file import TORCHVISION_FILE
from necks.exported import GENOTYPE_FILE, NECK_FILE
from necks.exported import WEIGHTS_FILE as NECK_WEIGHTS_FILE

CARD_FILE = "README.md"
PICTURE_FILE = "architecture.svg"
NECK_FILES = (GENOTYPE_FILE, NECK_FILE, NECK_WEIGHTS_FILE)
DETECTOR_FILES = (DETECTOR_FILE, DETECTOR_WEIGHTS_FILE)
GENERATED = (PYTHON_FILE, WEIGHTS_FILE, MMDET_FILE, MMDET_WEIGHTS_FILE, TORCHVISION_FILE)
TRACED = ("neck.onnx", "neck.pt2", "detector.onnx", "detector.pt2")
ALL_FILES = frozenset((CARD_FILE, PICTURE_FILE, *NECK_FILES, *DETECTOR_FILES, *GENERATED, *TRACED))


def prepared(output: Path) -> Path:
    """The directory, made if need be; files of an earlier export are removed from it.

    Raises:
        ExportError: if it holds other things.
    """
    if output.exists() and (not output.is_dir() or {entry.name for entry in output.iterdir()} - ALL_FILES):
        raise ExportError(f"{output} holds other things; give --output a new or empty directory")
    output.mkdir(parents=True, exist_ok=True)
    for name in ALL_FILES:
        (output / name).unlink(missing_ok=True)
    return output


def copy_files(names: Iterable[str], source: Path, output: Path) -> None:
    """Those of the files that are there."""
    for name in names:
        if (source / name).is_file():
            shutil.copyfile(source / name, output / name)
