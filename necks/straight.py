"""Programs as straight Python code, which is what running one costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import count
from linecache import cache as source_lines
from math import inf, nan
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from necks.blocks import ACTIVATIONS, layers_of
from necks.gpu.fit import Term
from necks.kernels import merged
from necks.merge import FUNCTIONS, SHARES, average_gate, max_gate
from necks.program import Program, Spelling, Step, statements
from necks.resample import POOLS, always_laid_out, fit, halve, laid_out, pooled_term, up

NAMESPACE: dict[str, Any] = {
    "torch": torch,
    "F": F,
    "nan": nan,
    "inf": inf,
    "Term": Term,
    "merged": merged,
    "pooled_term": pooled_term,
    **{function.__name__: function for function in (up, fit, halve, laid_out, always_laid_out)},
    **{function.__name__: function for function in (max_gate, average_gate, *SHARES.values())},
    **{f"{activation}_": function for activation, (_, function) in ACTIVATIONS.items()},
    **POOLS,
}
"""What the expressions of `necks.program.FORMS` call."""

_numbers = count()


class Straight(nn.Module):
    """A module that runs a program over modules and parameters of its own."""

    def run_program(self, program: Program) -> None:
        """Run this from now on; what its blocks consist of is looked up now."""
        self.program = program
        self._run = compiled(program, self)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        maps_out: list[Tensor] = self._run(self, *maps)
        return maps_out

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if not isinstance(value, FunctionType)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.run_program(self.program)


class _Looked(Spelling):
    """Blocks by way of the dicts that modules are held in: an attribute of a module costs as much as a small map."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def block(self, step: Step, x: str) -> str:
        if step.operation == "strided" and step.stride > 1:
            x = f"max_pool({x}, {step.stride})"
        layers = [name for name, _ in layers_of(self.module.get_submodule(step.block), step.block)]
        if step.overwrites:
            layers = [layer for layer in layers if layer != f"{step.block}.act"]
            x = f"{step.name}_({x})"
        for layer in layers:
            x = f"{_dotted(layer)}({x})"
        return x

    def parameter(self, name: str) -> str:
        owner, _, parameter = name.rpartition(".")
        return f"{_dotted(owner)}.{parameter}"


def _dotted(name: str) -> str:
    return "module" + "".join(f"._modules[{part!r}]" for part in name.split("."))


def compiled(program: Program, module: nn.Module) -> FunctionType:
    """A function of a module like this one and of the inputs, which gives the outputs."""
    body = [*statements(program, _Looked(module)), f"return [{', '.join(program.outputs)}]"]
    source = "\n    ".join([f"def run(module, {', '.join(program.inputs)}):", *body, ""])
    return _compiled(source, tuple(FUNCTIONS.values()))


@lru_cache(maxsize=512)
def _compiled(source: str, functions: tuple[Callable[..., Tensor], ...]) -> FunctionType:
    name = f"<program {next(_numbers)} of a neck>"
    source_lines[name] = len(source), None, source.splitlines(keepends=True), name  # for tracebacks
    namespace = {**NAMESPACE, **{function.__name__: function for function in functions}}
    exec(compile(source, name, "exec"), namespace)
    function = namespace["run"]
    assert isinstance(function, FunctionType)
    return function
