"""A whole `MergeNeck` as source: stem, stacked pyramids, levels beyond them."""

from __future__ import annotations

from torch import nn

from nas.export.parts import Members, Shared
from nas.export.pyramid_source import INDENT, PyramidSource
from necks.merge_neck import MergeNeck, Pyramid
from necks.stem import ExtraOutputs

POOLED = "F.max_pool2d({}, 2, ceil_mode=True)"
HALVED = {
    "max_pool": POOLED,
    "conv": POOLED,
    "max_pool3": "F.max_pool2d({}, 3, stride=2, padding=1)",
    "max_pool3_same": "same_max_pool({}, 2)",
    "max_pool_padded": "halve({})",
}
"""One level coarser in the stem, by the recipe's `down`; see `necks.stem`."""


class NeckSource:
    """The parts of a neck's class that do not depend on who calls it.

    Attributes:
        pyramids: source of every class below the neck's.
        members: of the neck's class.
        steps: statements that compute the outputs from the variables of the backbone's maps.
        inputs: these variables.
        outputs: variables of the outputs, fine to coarse.
        renamed: our module or parameter -> its name in the generated module, for all of the neck.
    """

    def __init__(self, neck: MergeNeck) -> None:
        self.neck = neck
        self.shared = Shared()
        self.members = Members(self.shared)
        self.inputs = [f"c{level}" for level in neck.in_levels]
        self.outputs = [f"p{level}" for level in neck.out_levels]
        self.pyramids: list[list[str]] = []
        self.steps = [*self._laterals(), *self._extra_inputs()]
        if neck.genotype.cells:
            self.steps += self._stack()
        if neck.extra is not None:
            self.steps += self._extra_outputs(neck.extra)
        self.renamed = self.members.renamed

    def _laterals(self) -> list[str]:
        lines = []
        for index, (level, module) in enumerate(zip(self.neck.in_levels, self.neck.stem.laterals, strict=True)):
            value = f"c{level}"
            if not isinstance(module, nn.Identity):
                member = f"lateral{level}"
                self.members.add_block(member, "lateral", module, f"stem.laterals.{index}", takes_width=True)
                value = f"self.{member}({value})"
            lines.append(f"{INDENT}p{level} = {value}")
        return lines

    def _extra_inputs(self) -> list[str]:
        """Levels that the backbone has not, as `necks.stem.Stem` makes them."""
        recipe, last = self.neck.recipe, self.neck.in_levels[-1]
        lines, raw = [], f"c{last}"
        for index, module in enumerate(self.neck.stem.extras):
            level = last + 1 + index
            source = f"p{level - 1}"
            if recipe.extra_inputs == "pool_project":
                lines.append(f"{INDENT}c{level} = {POOLED.format(raw)}")
                raw = f"c{level}"
                lines.append(f"{INDENT}p{level} = {self._lateral(module, index, level, raw)}")
                continue
            down = recipe.down
            if recipe.extra_inputs == "lateral_pool":
                source = raw if index == 0 else source
            elif down != "max_pool_padded":
                down = "max_pool"
            pooled = self._halved(down).format(self._lateral(module, index, level, source))
            lines.append(f"{INDENT}p{level} = {pooled}")
        return lines

    def _halved(self, down: str) -> str:
        helper = HALVED[down].partition("(")[0]
        if helper.isidentifier():
            self.members.call(helper)
        return HALVED[down]

    def _lateral(self, module: nn.Module, index: int, level: int, source: str) -> str:
        if isinstance(module, nn.Identity):
            return source
        self.members.add_block(f"lateral{level}", "lateral", module, f"stem.extras.{index}", takes_width=True)
        return f"self.lateral{level}({source})"

    def _stack(self) -> list[str]:
        """The pyramids in a row; the first has a class of its own where it alone takes maps of other widths."""
        sources = [self._pyramid(index) for index in range(self.neck.repeats)]
        names = [f"p{level}" for level in self.neck.genotype.levels]
        maps = ", ".join(names)
        target = maps + ("," if len(names) == 1 else "")
        alike = [index for index, source in enumerate(sources) if source.members.lines == sources[-1].members.lines]
        lines = []
        for index in range(alike[0]):
            self._place(sources[index], index, "first")
            self.members.add("first", "FirstPyramid()")
            self.pyramids.append(
                sources[index].lines(
                    "FirstPyramid", "The first pass over the cells, which also brings maps to the neck's width."
                )
            )
            lines.append(f"{INDENT}{target} = self.first({maps})")
        purpose = "One pass over the cells; maps in and out run from fine to coarse."
        self.pyramids.append(sources[-1].lines("Pyramid", purpose))
        if len(alike) == 1:
            self._place(sources[-1], alike[0], "pyramid")
            self.members.add("pyramid", "Pyramid()")
            return [*lines, f"{INDENT}{target} = self.pyramid({maps})"]
        for position, index in enumerate(alike):
            self._place(sources[index], index, f"pyramids.{position}")
        self.members.add("pyramids", f"nn.ModuleList(Pyramid() for _ in range({len(alike)}))")
        loop = [f"{INDENT}for pyramid in self.pyramids:", f"{INDENT}    {target} = pyramid({maps})"]
        return [*lines, *loop]

    def _pyramid(self, index: int) -> PyramidSource:
        pyramid = self.neck.pyramids[index]
        assert isinstance(pyramid, Pyramid)
        return PyramidSource(self.neck, pyramid, self.shared)

    def _place(self, source: PyramidSource, index: int, name: str) -> None:
        for ours, theirs in source.members.renamed.items():
            self.members.renamed[f"pyramids.{index}.{ours}"] = f"{name}.{theirs}"

    def _extra_outputs(self, extra: ExtraOutputs) -> list[str]:
        first = self.neck.genotype.levels[-1] + 1
        lines = []
        for index in range(extra.count):
            level = first + index
            source = f"p{level - 1}"
            if extra.kind == "subsample":
                lines.append(f"{INDENT}p{level} = {source}[..., ::2, ::2]")
                continue
            if index == 0 and extra.kind == "p6p7_c5":
                source = self.inputs[-1]
            elif index and extra.activation:
                source = f"F.relu({source})"
            module = extra.convs[index]
            self.members.add_block(f"extra{level}", "extra_block", module, f"extra.convs.{index}", takes_width=True)
            lines.append(f"{INDENT}p{level} = self.extra{level}({source})")
        return lines
