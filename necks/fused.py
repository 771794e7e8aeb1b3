"""Necks specialised for inference: norms folded, weights of merges constant, kernels where they pay."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from necks.fold import fold_batch_norms
from necks.kernels import merging_pays
from necks.program import Program, Step
from necks.pyramid import Pyramid
from necks.straight import NAMESPACE, Straight, compiled

Module = TypeVar("Module", bound=nn.Module)


def fused(neck: Module) -> Module:
    """A copy in evaluation mode without batch norms after convolutions, whose pyramids are `FusedPyramid`s.

    Its convolutions are in channels_last, which they are quickest in; those of 1x1 take the layout of their maps, as it
    costs more to change a backbone's wide ones.
    """
    folded = fold_batch_norms(neck)
    for module in folded.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1):
            module.to(memory_format=torch.channels_last)
    for parent in list(folded.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Pyramid):
                setattr(parent, name, FusedPyramid(child))
            elif isinstance(child, Straight):
                child.run_program(child.program)
    return folded


class FusedPyramid(Straight):
    """A pyramid for inference alone. Where it pays, one kernel computes what a cell merges."""

    def __init__(self, pyramid: Pyramid) -> None:
        super().__init__()
        self.cells = pyramid.cells
        self.run_program(with_constants(pyramid.program, pyramid))
        for cell in self.cells:
            cell._parameters.pop("weight", None)

    def run_program(self, program: Program) -> None:
        super().run_program(program)
        self._run_kernels = compiled(with_kernels(program), self)
        self._sizes: set[Hashable] = set()

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        if merging_pays(maps, self._sizes):
            return list(self._run_kernels(self, *maps))
        return super().forward(maps)


def with_constants(program: Program, module: nn.Module) -> Program:
    """The program with the present weights of merges as numbers."""
    constants: dict[str, str] = {}
    steps = []
    for step in program.steps:
        if step.operation == "shares":
            weights = NAMESPACE[step.name](module.get_parameter(step.block).detach())
            constants |= {name: repr(weight) for name, weight in zip(step.results, weights.tolist(), strict=True)}
            continue
        operands = tuple(constants.get(name, name) for name in step.operands)
        constant = step.operation == "add_scaled" and operands != step.operands
        steps.append(replace(step, operands=operands, operation="add_constant" if constant else step.operation))
    return replace(program, steps=tuple(steps))


def with_kernels(program: Program) -> Program:
    """The program with a step `merged` in place of every sum of scaled and resampled maps."""
    return _Kernels(program).program()


class _Kernels:
    """
    Attributes:
        sums: values not yet computed, as their terms: steps with a map, a number and a gate as operands.
    """

    def __init__(self, program: Program) -> None:
        self.given, self.uses = program, program.uses
        self.steps: list[Step] = []
        self.sums: dict[str, tuple[Step, ...]] = {}
        self.levels: dict[str, int] = {name: int(name[1:]) for name in program.inputs}

    def program(self) -> Program:
        for step in self.given.steps:
            level = self.levels[step.operands[0]] if step.level is None else step.level
            self.levels |= dict.fromkeys(step.results, level)
            result = step.results[0]
            if (terms := self._sum(step)) is None:
                self._keep(step)
            else:
                self.sums[result] = terms
                if result in self.given.nodes or (self.uses[result] > 1 and step.operation != "up"):
                    self._compute(result)
        for output in self.given.outputs:
            self._compute(output)
        return replace(self.given, steps=tuple(self.steps))

    def _sum(self, step: Step) -> tuple[Step, ...] | None:
        """Terms of the step's result; None for operations that give no sum."""
        first, *others = step.operands
        if step.operation == "add":
            return self._terms(first) + self._terms(others[0])
        if step.operation == "scale":
            return _times(self._terms(first), others[0])
        if step.operation in ("add_scaled", "add_constant"):
            return self._terms(first) + _times(self._terms(others[0]), others[1])
        if step.operation in ("up", "pool", "pool_padded"):
            if len(self._terms(first)) > 1 or self._terms(first)[0].level is not None:
                self._compute(first)
            operation = "term" if step.operation == "up" else "pooled_term"
            return (replace(step, operation=operation, operands=self._terms(first)[0].operands),)
        return None

    def _terms(self, value: str) -> tuple[Step, ...]:
        return self.sums.get(value, (Step((), "term", (value, "1.0", "None")),))

    def _keep(self, step: Step) -> None:
        activates = step.operation == "transform" and step.overwrites and step.operands[0] in self.sums
        for operand in step.operands:
            self._compute(operand, step.name if activates else "none")
        self.steps.append(replace(step, name="none") if activates else step)

    def _compute(self, value: str, activation: str = "none") -> None:
        if value in self.sums:
            terms = self.sums.pop(value)
            names = tuple(f"{value}_term{index}" for index in range(len(terms)))
            self.steps += [replace(term, results=(name,)) for term, name in zip(terms, names, strict=True)]
            self.steps.append(Step((value,), "merged", names, name=activation, level=self.levels[value]))


def _times(terms: Sequence[Step], factor: str) -> tuple[Step, ...]:
    """The terms with a number or a gate."""
    place = 1 if factor[0] in "-.0123456789" else 2
    return tuple(
        replace(term, operands=(*term.operands[:place], factor, *term.operands[place + 1 :])) for term in terms
    )
