"""Necks specialised for inference: norms folded, weights of merges constant, kernels where they pay."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
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
    """A copy in evaluation mode without batch norms after convolutions, whose pyramids are `FusedPyramid`s, and in
    channels_last, which convolutions without gradients are quickest in."""
    folded = fold_batch_norms(neck).to(memory_format=torch.channels_last)
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


@dataclass(frozen=True)
class _Term:
    """A summand: the map `source`, resampled by a step if one is given, times a number and a gate."""

    source: str
    resample: Step | None = None
    weight: str = "1.0"
    gate: str = "None"

    def times(self, factor: str) -> _Term:
        number = factor[0] in "-.0123456789"
        return replace(self, weight=factor) if number else replace(self, gate=factor)

    def step(self, result: str) -> Step:
        operands = self.source, self.weight, self.gate
        if self.resample is None or self.resample.operation == "up":
            return Step((result,), "term", operands)
        return replace(self.resample, results=(result,), operation="pooled_term", operands=operands)


def with_kernels(program: Program) -> Program:
    """The program with a step `merged` in place of every sum of scaled and resampled maps."""
    return _Kernels(program).program()


class _Kernels:
    def __init__(self, program: Program) -> None:
        self.given, self.uses = program, program.uses
        self.steps: list[Step] = []
        self.sums: dict[str, tuple[_Term, ...]] = {}
        self.levels: dict[str, int] = {name: int(name[1:]) for name in program.inputs}

    def program(self) -> Program:
        for step in self.given.steps:
            level = self.levels[step.operands[0]] if step.level is None else step.level
            self.levels |= dict.fromkeys(step.results, level)
            (result, *_) = step.results
            if (terms := self._sum(step)) is None:
                self._keep(step)
            else:
                self.sums[result] = terms
                if result in self.given.nodes or (self.uses[result] > 1 and step.operation != "up"):
                    self._compute(result)
        for output in self.given.outputs:
            self._compute(output)
        return replace(self.given, steps=tuple(self.steps))

    def _sum(self, step: Step) -> tuple[_Term, ...] | None:
        """The step's result as a sum; None for other operations."""
        first = self._terms(step.operands[0])
        if step.operation == "add":
            return first + self._terms(step.operands[1])
        if step.operation == "scale":
            return tuple(term.times(step.operands[1]) for term in first)
        if step.operation in ("add_scaled", "add_constant"):
            return first + tuple(term.times(step.operands[2]) for term in self._terms(step.operands[1]))
        if step.operation in ("up", "pool", "pool_padded"):
            if len(first) > 1 or first[0].resample is not None:
                self._compute(step.operands[0])
                first = self._terms(step.operands[0])
            return (replace(first[0], resample=step),)
        return None

    def _terms(self, value: str) -> tuple[_Term, ...]:
        return self.sums.get(value, (_Term(value),))

    def _keep(self, step: Step) -> None:
        activates = step.operation == "transform" and step.overwrites and step.operands[0] in self.sums
        for operand in step.operands:
            self._compute(operand, step.name if activates else "none")
        self.steps.append(replace(step, name="none") if activates else step)

    def _compute(self, value: str, activation: str = "none") -> None:
        if value in self.sums:
            terms = [term.step(f"{value}_term{index}") for index, term in enumerate(self.sums.pop(value))]
            operands = tuple(term.results[0] for term in terms)
            merged = Step((value,), "merged", operands, name=activation, level=self.levels[value])
            self.steps += [*terms, merged]
