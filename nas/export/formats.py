"""The formats by name, and their writing and checking."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.export.errors import ExportError
from nas.export.fold import fold_batch_norms
from nas.export.graphs import Computes, Graph, detector_graph, largest_difference, neck_graph
from nas.export.mmdet_file import write_mmdet
from nas.export.onnx_file import read_onnx, write_onnx
from nas.export.pt2_file import read_pt2, write_pt2
from nas.export.python_file import PYTHON_FILE, WEIGHTS_FILE, write_python
from nas.export.sources import Source
from nas.export.suppression import SUPPRESSING_FILE, detections_difference, kept_in_onnx, suppressing_graph
from nas.export.torchvision_file import write_torchvision
from necks import MergeNeck

TOLERANCE = 1e-4
"""Largest difference allowed between a written file and the module, relative to the largest value of an output where
that is over 1."""

FORMATS = ("python", "onnx", "onnx-nms", "pt2", "mmdet", "torchvision")
OF_MERGE_GRAPHS = ("python", "mmdet", "torchvision")
OF_DETECTORS = ("onnx-nms",)
ALL = "all"

Reader = Callable[[Path], Computes]
Difference = Callable[[Sequence[Tensor], Sequence[Tensor]], float]


@dataclass(frozen=True)
class Written:
    """One file that was written.

    Args:
        difference: the largest to the trained module at the sizes of `Graph.sizes`; None where it was not compared.
    """

    path: Path
    difference: float | None = None


def write_formats(source: Source, formats: Sequence[str], directory: Path, *, fold: bool) -> list[Written]:
    """Write what is asked for and compare what computes with the trained module.

    A RetinaNet is written whole as onnx, onnx-nms (with suppression inside) and pt2; the other formats are of its neck,
    and so are all formats of a Faster R-CNN.

    Args:
        formats: of `FORMATS`, or `all`, which leaves out those that the neck or the detector does not allow.
        fold: whether batch norms are folded into convolutions first.

    Raises:
        ExportError: for an unknown format, one that the neck does not allow, a package that is missing, or a file whose
            outputs differ by more than `TOLERANCE`.
    """
    written: dict[Path, Written] = {}
    given = _folded(source) if fold else source
    for name in chosen(formats):
        if ALL in formats and not _fits(source, name):
            continue
        for file in _write(source, given, name, directory):
            if file.path not in written or file.difference is not None:
                written[file.path] = file
    return list(written.values())


def _fits(source: Source, name: str) -> bool:
    if name in OF_DETECTORS:
        return source.retinanet is not None
    return isinstance(source.neck, MergeNeck) or name not in OF_MERGE_GRAPHS


def chosen(formats: Sequence[str]) -> tuple[str, ...]:
    """
    Raises:
        ExportError: for an unknown format.
    """
    if unknown := [name for name in formats if name not in (*FORMATS, ALL)]:
        raise ExportError(f"unknown format {', '.join(unknown)}; take {', '.join(FORMATS)} or {ALL}")
    return FORMATS if ALL in formats else tuple(dict.fromkeys(formats))


def _folded(source: Source) -> Source:
    detector = source.detector if source.retinanet is None else fold_batch_norms(source.retinanet)
    return replace(source, neck=fold_batch_norms(source.neck), detector=detector)


def _write(source: Source, given: Source, name: str, directory: Path) -> list[Written]:
    """Args: given: the source as it is written, perhaps without batch norms."""
    if name == "python":
        write_python(given.neck, directory)
        difference = _compared(neck_graph(source.neck), directory / PYTHON_FILE, read_python)
        return [Written(directory / PYTHON_FILE, difference), Written(directory / WEIGHTS_FILE)]
    if name == "mmdet":
        return [Written(path) for path in write_mmdet(given.neck, directory, source.neck)]
    if name == "torchvision":
        return [Written(path) for path in write_torchvision(given.neck, directory)]
    if name == "onnx-nms":
        return [_write_suppressing(source, given, directory)]
    write, read = (write_onnx, read_onnx) if name == "onnx" else (write_pt2, read_pt2)
    path = directory / f"{'neck' if source.retinanet is None else 'detector'}.{name}"
    write(_graph(given), path)
    return [Written(path, _compared(_graph(source), path, read))]


def _write_suppressing(source: Source, given: Source, directory: Path) -> Written:
    """
    Raises:
        ExportError: for what is no RetinaNet.
    """
    if source.retinanet is None or given.retinanet is None:
        what = "a neck" if source.detector is None else "a Faster R-CNN"
        raise ExportError(f"onnx-nms is of whole RetinaNets, and this is {what}; take onnx, which is of the neck")
    path = directory / SUPPRESSING_FILE
    write_onnx(suppressing_graph(given.retinanet), path, kept_in_onnx)
    return Written(path, _compared(suppressing_graph(source.retinanet), path, read_onnx, detections_difference))


def _graph(source: Source) -> Graph:
    return neck_graph(source.neck) if source.retinanet is None else detector_graph(source.retinanet)


def _compared(graph: Graph, path: Path, read: Reader, difference: Difference = largest_difference) -> float:
    """
    Args:
        difference: between two lists of outputs.

    Raises:
        ExportError: if outputs differ too much.
    """
    compute = read(path)
    differences = []
    for size in graph.sizes:
        inputs = graph.inputs(size)
        with torch.no_grad():
            expected = list(graph.module(*inputs).values())
        differences.append(difference(compute(inputs), expected))
    worst = float(torch.tensor(differences).max())  # Python's max() passes over NaN
    if not worst <= TOLERANCE:
        raise ExportError(
            f"{path} was written, but its outputs differ from the trained module's by {worst:.1e} (allowed are "
            f"{TOLERANCE:.0e}); do not use it, take another format"
        )
    return worst


def read_python(path: Path) -> Computes:
    """Outputs of a generated `neck.py` with the weights beside it, for any maps."""
    namespace: dict[str, Any] = {"__name__": path.stem}
    exec(compile(path.read_text(), str(path), "exec"), namespace)
    neck = namespace["load_neck"](path.with_name(WEIGHTS_FILE))

    def compute(maps: tuple[Tensor, ...]) -> list[Tensor]:
        with torch.no_grad():
            return list(neck(OrderedDict((str(index), x) for index, x in enumerate(maps))).values())

    return compute
