"""The detector that a command is given."""

from __future__ import annotations

from pathlib import Path

from nas.credentials import without_credentials
from nas.detection.device import DeviceError, pick_device
from nas.detection.saved import DETECTOR_FILE, DetectorSpec, load_detector
from nas.detection.two_stage import Detector
from nas.evaluation.evaluate import EvaluationError
from nas.export.sources import is_detector, is_exported_neck
from nas.runs.remote.exports import DETECTOR_FILES, local_export
from nas.runs.remote.files import is_url
from nas.runs.remote.staging import CONFIG
from nas.runs.trial_names import split_name
from search_space.files import is_there


def given_detector(place: str, device: str) -> tuple[Detector, DetectorSpec]:
    """A saved detector in evaluation mode, on a device.

    Args:
        place: its directory or URL.

    Raises:
        EvaluationError: for what is no detector or no device.
        DetectorError: if its files are damaged.
    """
    directory = local_export(place, DETECTOR_FILES)
    if is_url(place) and not is_detector(directory):
        raise EvaluationError(f"{without_credentials(place)} holds no saved detector: there is no {DETECTOR_FILE}")
    _refuse_others(directory)
    detector, spec = load_detector(directory)
    _move(detector, device)
    return detector, spec


def made(out: Path) -> Path:
    """A directory to write to.

    Raises:
        EvaluationError: if it cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EvaluationError(f"{out} cannot be written to ({error.strerror}); give --out a directory") from error
    return out


def _refuse_others(directory: Path) -> None:
    """
    Raises:
        EvaluationError: for what is no detector, with where there is one or how to come by one.
    """
    if is_detector(directory):
        return
    model = directory / "model"
    if is_detector(model):
        raise EvaluationError(f"{directory} is the directory of a training; its detector is in {model}: give that")
    _, number = split_name(str(directory))
    if number is not None or is_there(directory / CONFIG) or is_exported_neck(directory):
        what = "an exported neck" if is_exported_neck(directory) else f"a {'search' if number is None else 'trial'}"
        raise EvaluationError(
            f"{directory} is {what}, and there is no detector in it; train one: nasfpn train EXPERIMENT --neck "
            f"{directory} --run-dir DIR, then give DIR/model"
        )
    if not is_there(directory):
        raise EvaluationError(
            f"there is no directory {directory}; give one that nasfpn train (DIR/model) or convert made"
        )


def _move(detector: Detector, name: str) -> None:
    """PyTorch says in several ways that a name is no device."""
    try:
        detector.to(pick_device(name))
    except (RuntimeError, AssertionError, DeviceError) as error:
        raise EvaluationError(f"--device {name}: {str(error).splitlines()[0]}") from error
