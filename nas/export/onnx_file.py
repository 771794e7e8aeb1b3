"""ONNX files, checked with onnxruntime when they are written."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.export.errors import ExportError, require
from nas.export.graphs import Computes, Graph
from nas.export.pt2_file import traced

Translations = Callable[[], Mapping[Callable[..., Any], Callable[..., Any]]]


def write_onnx(graph: Graph, path: Path, translations: Translations | None = None) -> Path:
    """Trace and write a graph for any number of images of any size.

    Upsampling is `Resize` (nearest, asymmetric, floor). PyTorch computes its ratio in single precision: at about one
    pair of sizes in a hundred, and only where their ratio is not whole, it takes a neighbouring pixel in places.

    Args:
        translations: gives those of operations of our own.

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
                custom_translation_table=None if translations is None else dict(translations()),
            )
            assert converted is not None
            _name_dimensions(converted.model, graph)
            converted.save(str(path), external_data=False)
    except (RuntimeError, ValueError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ExportError(f"torch.onnx cannot convert this module ({reason}); take another format: pt2") from error
    return path


def _name_dimensions(model: Any, graph: Graph) -> None:
    """Names in place of the tracer's symbols: `batch`, `height` and `width` of images, `c3_height` of a map.

    Args:
        model: an `onnx_ir.Model`.
    """
    names: dict[str, str] = {}
    for index, value in enumerate(model.graph.inputs):
        for dim, name in zip(value.shape, graph.input_dims(index), strict=True):
            if found := re.fullmatch(r"(?:(\d+)\*)?(s\d+)", str(dim)):
                names[found[2]] = f"({name}//{found[1]})" if found[1] else str(name)
    for value in [output for node in model.graph.all_nodes() for output in node.outputs]:
        for place, dim in enumerate(value.shape or ()):
            if not isinstance(dim, int):
                value.shape[place] = re.sub(r"\bs\d+\b", lambda symbol: names.get(symbol[0], symbol[0]), str(dim))
    for values, dims_of in ((model.graph.inputs, graph.input_dims), (model.graph.outputs, graph.output_dims)):
        for index, value in enumerate(values):
            for place, name in zip(range(len(value.shape)), dims_of(index), strict=False):
                if not isinstance(value.shape[place], int):
                    value.shape[place] = name


def read_onnx(path: Path) -> Computes:
    """Outputs of a file for any inputs, by onnxruntime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]

    def compute(inputs: tuple[Tensor, ...]) -> list[Tensor]:
        found = session.run(None, {name: x.numpy() for name, x in zip(names, inputs, strict=True)})
        return [torch.from_numpy(x) for x in found]

    return compute


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
