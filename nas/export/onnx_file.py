"""ONNX files, checked with onnxruntime when they are written."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from nas.export.errors import ExportError, require
from nas.export.graphs import Graph
from nas.export.pt2_file import traced


def write_onnx(graph: Graph, path: Path) -> Path:
    """Trace and write a graph for any number of images of any size.

    Upsampling is `Resize` (nearest, asymmetric, floor). PyTorch computes its ratio in single precision: at about one
    pair of sizes in a hundred, and only where their ratio is not whole, it takes a neighbouring pixel in places.

    Raises:
        ExportError: if onnx or onnxscript is not installed, or the graph cannot be converted.
    """
    require("onnx", "onnxscript", "onnxruntime", why="the format onnx")
    program = traced(graph)
    try:
        with _quietly():
            converted = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                input_names=list(graph.input_names),
                output_names=list(graph.output_names),
            )
            assert converted is not None
            converted.save(str(path), external_data=False)
    except (RuntimeError, ValueError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ExportError(f"torch.onnx cannot convert this module ({reason}); take another format: pt2") from error
    return path


def read_onnx(path: Path, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """The outputs of a file for these inputs, by onnxruntime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    found = session.run(None, {name: x.numpy() for name, x in zip(names, inputs, strict=True)})
    return [torch.from_numpy(x) for x in found]


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporter's progress and its advice to library authors."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
