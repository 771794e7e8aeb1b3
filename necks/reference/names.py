"""Names of a neck's tensors in public implementations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from necks.contract import Neck
from necks.merge_neck import MergeNeck
from search_space import Genotype, GenotypeError, known_genotype


class WeightsError(ValueError):
    """Weights that do not fit the neck; the message lists every key that is missing, left over or misshaped."""


@dataclass(frozen=True)
class Source:
    """Where the value of one of our tensors is found.

    Args:
        names: names that the public implementation has used for it, current one first. Where several are present
            (modules that it shares), they must be equal.
        convert: from its layout to ours.
        default: value where no name is present, for variables that only some versions have; None if it is required.
    """

    names: tuple[str, ...]
    convert: Callable[[Tensor], Tensor] | None = None
    default: float | None = None


Sources = dict[str, Source]
"""Our tensor's name -> where it is found. Tensors not named here have no counterpart, which is an error."""

Names = str | tuple[str, ...]
"""One name, or several as in `Source`."""

WHOLE = {"": ""}


def same_tail(neck: nn.Module, names: Mapping[str, Names], parts: Mapping[str, Names] = WHOLE) -> Sources:
    """For modules whose own tensors have the same names on both sides (PyTorch's conv and norm).

    Args:
        names: our module or parameter -> its names there, such as `stem.laterals.0` -> `inner_blocks.0`.
        parts: of each of them, our part -> the endings of its names there, such as `.conv` -> `(".0", "")`.
    """
    prefixes = {
        ours + part: [there + ending for there in _each(theirs) for ending in _each(endings)]
        for ours, theirs in names.items()
        for part, endings in parts.items()
    }
    sources: Sources = {}
    for name in neck.state_dict():
        for ours, found in prefixes.items():
            if name == ours or name.startswith(f"{ours}."):
                sources[name] = Source(tuple(there + name[len(ours) :] for there in found))
    return sources


def _each(names: Names) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names


def moved(sources: Sources, ours: str, theirs: str) -> Sources:
    """The same tensors of a neck that is part of another: both sides' names with these prefixes."""
    return {
        ours + name: replace(source, names=tuple(theirs + key for key in source.names))
        for name, source in sources.items()
    }


def merge_neck_of(
    neck: Neck, made_by: str, graphs: tuple[str, ...], recipe: Mapping[str, Any], *, any_merge: bool = False
) -> MergeNeck:
    """The neck, if it would compute what the public one does.

    Args:
        made_by: names of `build_neck` that make such a neck, for the error.
        graphs: known topologies that it may have.
        any_merge: whether the cells may merge in another way than the known topology's.
        recipe: values that its recipe must have; those that show in the weights need not be given.

    Raises:
        WeightsError: if it has another graph or recipe.
    """
    if not isinstance(neck, MergeNeck) or not any(_has_graph(neck.genotype, graph, any_merge) for graph in graphs):
        raise WeightsError(f"these weights fit the graphs {graphs}; build the neck as {made_by}")
    wrong = {name: value for name, value in recipe.items() if getattr(neck.recipe, name) != value}
    if wrong:
        have = {name: getattr(neck.recipe, name) for name in wrong}
        raise WeightsError(f"these weights belong to {wrong}, this neck has {have}; build it as {made_by}")
    return neck


@dataclass(frozen=True)
class FpnCells:
    """Modules of an FPN's cells, and of a bottom-up path's after it, each fine to coarse."""

    outputs: tuple[str, ...]
    chain: tuple[str, ...]
    chain_outputs: tuple[str, ...]


def fpn_cells(neck: MergeNeck) -> FpnCells:
    """Of a neck whose graph is `fpn`, `panet` or `pafpn`, unstacked."""
    levels, cells = len(neck.genotype.levels), len(neck.genotype.cells)
    names = [f"pyramids.0.cells.{index}" for index in range(cells)]
    first_chain, first_last = 2 * levels - 1, 3 * levels - 2
    return FpnCells(
        tuple(names[levels - 1 : first_chain]), tuple(names[first_chain:first_last]), tuple(names[first_last:])
    )


def _has_graph(genotype: Genotype, graph: str, any_merge: bool) -> bool:
    try:
        known = known_genotype(graph, genotype.levels)
    except GenotypeError:
        return False
    if any_merge:
        genotype, known = (
            replace(one, cells=tuple(replace(cell, merge="sum") for cell in one.cells)) for one in (genotype, known)
        )
    ours, theirs = ([(cell.level, cell.inputs, cell.merge) for cell in one.cells] for one in (genotype, known))
    return ours == theirs and genotype.merge_dangling == known.merge_dangling
