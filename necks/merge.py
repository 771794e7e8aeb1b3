"""Meaning of the merges; one is added by a function here and its name in `search_space.genotype.MERGES`.

Shapes: N images, C channels, H W of the level at hand; a map is (N, C, H, W).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from necks.lowering import Lowering
from necks.recipe import Recipe
from search_space.references import BadReferenceError, load_object

FUSION_EPS = 1e-4


def max_gate(x: Tensor) -> Tensor:
    """sigmoid of each channel's global maximum, (N, C, 1, 1).

    Resampling up or down keeps the global maximum, so the gate is computed on the map as it is.
    """
    return torch.sigmoid(x.amax(dim=(2, 3), keepdim=True))


def average_gate(x: Tensor) -> Tensor:
    """sigmoid of each channel's global average, (N, C, 1, 1)."""
    return torch.sigmoid(x.mean(dim=(2, 3), keepdim=True))


def shares(weight: Tensor) -> Tensor:
    """Positive weights that sum to almost one, (inputs,)."""
    weight = F.relu(weight)
    return weight / (weight.sum() + FUSION_EPS)


def softmax_shares(weight: Tensor) -> Tensor:
    """Positive weights that sum to one, (inputs,)."""
    return weight.softmax(dim=0)


def sum_maps(maps: Sequence[Tensor]) -> Tensor:
    total = maps[0]
    for x in maps[1:]:
        total = total + x
    return total


SHARES = {"fast_normalized": shares, "softmax": softmax_shares}
"""By merge, of those with a weight for each input."""

_RESERVED = """
    torch nn F nan inf Tensor Size Term merged pooled_term run module relu_ silu_ none_ up fit pad halve
    ceil_div same_padding tiles laid_out always_laid_out max_pool max_pool3 max_pool3_same max_pool_padded
    max_gate average_gate shares softmax_shares lateral conv_block linear_block strided_block extra_block
    load_neck
"""
RESERVED = frozenset(_RESERVED.split())
"""Names that programs and exported files use; a function of the user with one of them would hide what is meant."""

FUNCTIONS: dict[str, Callable[[list[Tensor]], Tensor]] = {}
"""Merges without weights in which the order of the inputs does not matter: maps of the cell's size in, one out.

Those of the user, by reference, join it when they are first needed. Generated files take their source as it stands, so
it needs torch alone."""


def function_of(merge: str) -> Callable[[list[Tensor]], Tensor]:
    """
    Raises:
        BadReferenceError: for a reference that cannot be loaded, is not trusted, is not a function at the top level of
            a module, or has the name of a function that programs call already.
    """
    if merge not in FUNCTIONS:
        function = load_object(merge)
        if not (callable(function) and getattr(function, "__qualname__", "").isidentifier()):
            raise BadReferenceError(f"the merge {merge} is not a function at the top level of a module")
        others = {other.__name__: other for other in FUNCTIONS.values()}
        if function.__name__ in RESERVED or others.get(function.__name__, function) is not function:
            raise BadReferenceError(f"the merge {merge} has the name of another function; rename it")
        FUNCTIONS[merge] = function
    return FUNCTIONS[merge]


class Input(NamedTuple):
    """A map that a cell merges.

    Attributes:
        source: the value of the map in the neck's width.
        node: whose map it is.
        shift: levels to the cell, negative where the map is coarser.
        edge: the edge's name in the pyramid.
        projects, strides: the edge changes the map's width; it comes down by a convolution.
        shared: other cells of the level take the same map.
    """

    source: str
    node: int
    shift: int
    edge: str
    projects: bool
    strides: bool
    shared: bool


class Merging:
    """Vocabulary in which a cell's merge is written as steps; a value is its name in the program.

    Args:
        level: of the cell.
        known: values that cells share.
    """

    def __init__(self, lowering: Lowering, recipe: Recipe, cell: str, level: int, known: dict[Hashable, str]) -> None:
        self.lowering, self.recipe = lowering, recipe
        self.cell, self.level, self.known = cell, level, known

    def resized(self, x: Input) -> str:
        """The map at the cell's size."""
        if x.shift == 0:
            return x.source
        if x.shared and (x.node, x.shift) in self.known:
            return self.known[x.node, x.shift]
        moved = self._moved(x, x.source)
        if x.shared:
            self.known[x.node, x.shift] = moved
            self.lowering.owned.discard(moved)
        return moved

    def scaled(self, x: Input, factor: str) -> str:
        """The same times a factor for each map or channel, which is applied where the map is smaller."""
        if x.shift < 0:
            return self._moved(x, self.lowering.step("scale", x.source, factor, like="x"))
        source = self._moved(x, x.source) if x.shift else x.source
        return self.lowering.step("scale", source, factor, like="x", owned=True)

    def max_gate(self, x: Input) -> str:
        """The gate of a node's map, computed once for all cells that take it as it is."""
        if x.projects:
            return self.lowering.function("max_gate", x.source, like="gate")
        if x.node not in self.known:
            self.known[x.node] = self.lowering.function("max_gate", x.source, like="gate")
        return self.known[x.node]

    def shares(self, inputs: Sequence[Input], merge: str) -> Sequence[str]:
        """The normalised weights, in the maps' type."""
        name = SHARES[merge].__name__
        return self.lowering.shares(name, f"{self.cell}.weight", inputs[0].source, len(inputs))

    def _moved(self, x: Input, source: str) -> str:
        step, like = self.lowering.step, f"x_at{self.level}"
        if x.strides:
            moved = step("strided", source, block=f"{x.edge}.strided.conv", stride=2 ** (x.shift - 1), like=like)
            return step("fit", moved, level=self.level, like=like)
        if x.shift < 0:
            return step("up", source, level=self.level, like=like, owned=True)
        down, stride = self.recipe.down, 2**x.shift
        form = "pool_padded" if down == "max_pool_padded" else "pool"
        return step(form, source, name=down, stride=stride, level=self.level, like=like, owned=True)


def merged(cell: Merging, merge: str, inputs: Sequence[Input]) -> str:
    """The value of a merge of these inputs."""
    if merge == "sum":
        return cell.lowering.total([cell.resized(x) for x in inputs])
    if merge == "attention":
        return _gated(cell, inputs)
    if merge in SHARES:
        return _weighted(cell, inputs, cell.shares(inputs, merge))
    function = function_of(merge)
    return cell.lowering.step("merge", *(cell.resized(x) for x in inputs), name=function.__name__, like="x")


def _gated(cell: Merging, inputs: Sequence[Input]) -> str:
    """As `necks.choices.Gate` says; of equal levels the first is taken as the coarser."""
    coarse, fine = inputs if inputs[0].shift <= inputs[1].shift else inputs[::-1]
    fine_map = cell.resized(fine)
    if cell.recipe.gate == "avg_fine":
        gate = cell.lowering.function("average_gate", fine_map, like="gate")
        return cell.lowering.total([cell.scaled(coarse, gate), fine_map])
    coarse_map = cell.resized(coarse)
    return cell.lowering.add_scaled(coarse_map, fine_map, cell.max_gate(coarse))


def _weighted(cell: Merging, inputs: Sequence[Input], weights: Sequence[str]) -> str:
    """Coarser maps first, which are scaled before they grow."""
    (first, weight), *others = sorted(zip(inputs, weights, strict=True), key=lambda pair: pair[0].shift)
    total = cell.scaled(first, weight)
    for x, weight in others:
        if x.shift < 0:
            total = cell.lowering.total([total, cell.scaled(x, weight)])
        else:
            total = cell.lowering.add_scaled(total, cell.resized(x), weight)
    return total
