"""`nasfpn convert`: a public detector's weights as a saved detector."""

from __future__ import annotations

from pathlib import Path

from nas.conversion.convert import convert, read_categories
from nas.conversion.parts import OUR_EPS, ConversionError
from nas.detection.checkpoint import read_checkpoint
from nas.detection.cost import num_params
from nas.detection.saved import DETECTOR_FILE, WEIGHTS_FILE, save_detector
from nas.export.files import written_to
from nas.terminal import console


def convert_detector(
    path: Path, source: str, annotations: Path, output: Path, *, size: int, norm_eps: float | None, extra_relu: bool
) -> None:
    if output.exists() and (
        not output.is_dir() or {entry.name for entry in output.iterdir()} - {DETECTOR_FILE, WEIGHTS_FILE}
    ):
        raise ConversionError(f"{output} is not empty; give --output a new or empty directory")
    content = read_checkpoint(path)
    categories = read_categories(annotations, source)
    eps = OUR_EPS if norm_eps is None else norm_eps
    detector, spec = convert(content, source, categories, size, norm_eps=eps, extra_relu=extra_relu)
    with written_to(output):
        save_detector(detector.state_dict(), spec, output)
    console.print(
        f"{output}: {spec.backbone.name}, {len(spec.classes)} classes, {num_params(detector) / 1e6:.2f} M parameters; "
        f"score it with: nasfpn evaluate {output} --annotations FILE --images DIR --resize torchvision",
        soft_wrap=True,
    )
