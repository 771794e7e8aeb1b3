"""A traced graph that torch alone loads: `torch.export`'s .pt2."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, _meta_registrations
from torch.export import ExportedProgram
from torch.fx.experimental import _config
from torch.torch_version import TorchVersion
from torch.utils._sympy.value_ranges import ValueRanges

from nas.export.errors import ExportError
from nas.export.graphs import Computes, Graph


def write_pt2(graph: Graph, path: Path) -> Path:
    """Trace and write; `torch.export.load(path).module()` takes the inputs by position, whatever the image size.

    Raises:
        ExportError: if the graph cannot be traced, or its trace fits one size only.
    """
    torch.export.save(traced(graph), path)
    return path


def traced(graph: Graph) -> ExportedProgram:
    """
    Raises:
        ExportError: as `write_pt2`.
    """
    example = graph.inputs(graph.sizes[0], batch=2)
    try:
        with torch.no_grad(), _pools_of_any_size(), _config.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]
            program = torch.export.export(graph.traceable(), example, dynamic_shapes=graph.dynamic_shapes())
    except (RuntimeError, ValueError, AssertionError) as error:
        raise ExportError(
            f"torch.export cannot trace this module ({str(error).strip().splitlines()[0]}); take the Python file"
        ) from error
    _allow_sizes_of_one(program)
    if fixed := _fixed_inputs(program, graph):
        raise ExportError(
            f"the trace of this module fits one size only, that of {', '.join(fixed)}; take the Python file"
        )
    return program


@contextmanager
def _pools_of_any_size() -> Iterator[None]:
    """Before 2.13, PyTorch asks of each pooled map whether its sides are even, and so ties the trace to the answer; how
    later versions divide does not."""
    if TorchVersion(torch.__version__) >= "2.13":
        yield
        return
    divide = _meta_registrations.div_rtn
    _meta_registrations.div_rtn = operator.floordiv
    try:
        yield
    finally:
        _meta_registrations.div_rtn = divide


def _allow_sizes_of_one(program: ExportedProgram) -> None:
    """Take back that batches and maps of one are refused.

    The tracer, which had larger ones, asks whether a size is one where the memory layout of a convolution's output and
    broadcasting depend on it; what is computed does not.
    """
    guards = getattr(program, "_guards_code", [])
    guards[:] = [guard for guard in guards if not guard.endswith((" != 1", " > 1"))]
    for symbol, values in program.range_constraints.items():
        if symbol.is_symbol:
            program.range_constraints[symbol] = ValueRanges(1, values.upper)


def read_pt2(path: Path) -> Computes:
    """Outputs of a file for any inputs; loading it takes longer than computing them."""
    module = torch.export.load(path).module()

    def compute(inputs: tuple[Tensor, ...]) -> list[Tensor]:
        with torch.no_grad():
            return list(module(*inputs).values())

    return compute


def _fixed_inputs(program: ExportedProgram, graph: Graph) -> list[str]:
    """Inputs whose number, height or width became a constant."""
    given = [node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
    shapes = [node.meta["val"].shape for node in given]
    return [
        name
        for name, shape in zip(graph.input_names, shapes, strict=True)
        if any(isinstance(shape[dim], int) for dim in (0, 2, 3))
    ]
