"""Genotype: the topology of a neck as immutable data.

Nodes are numbered: the pyramid's inputs first, fine to coarse, then every cell's result in order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from search_space.bounds import MAX_CELLS, MAX_INPUTS, GenotypeError, check_levels, is_whole, shown
from search_space.files import parse_record
from search_space.fingerprint import fingerprint
from search_space.references import is_reference, reference_of

MERGES = ("sum", "attention", "fast_normalized", "softmax")
TRANSFORMS = ("conv", "linear", "none")
FORMAT_VERSION = 1

MAX_TEXT = 2**20
"""Characters of a genotype's JSON text: several times what the largest one takes."""


@dataclass(frozen=True)
class MergeCell:
    """Merge cell: resamples its input nodes to one level, merges them, and transforms the result.

    Args:
        level: output level l; the result has stride 2^l.
        inputs: indices of the merged nodes. Their order matters only to `attention` at equal levels, which takes the
            first node as the coarser one (TensorFlow's reference compares levels with >=).
        merge: `sum`; `attention` = coarse + fine * sigmoid(global max of coarse), two inputs (NAS-FPN);
            `fast_normalized` = sum of relu(w_i) x_i / (sum of relu(w_i) + 1e-4) (BiFPN); `softmax` = sum of
            softmax(w)_i x_i (BiFPN's other fusion); or a reference (`my_ops:max_maps`) to your own function of a list
            of maps of one shape, which must not depend on their order.
        transform: `conv` applies the recipe's activation, convolution and norm; `linear` leaves out the activation;
            `none` returns the merged map.
    """

    level: int
    inputs: tuple[int, ...]
    merge: str = "sum"
    transform: str = "conv"

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", _as_tuple("inputs", self.inputs))
        if callable(self.merge):
            object.__setattr__(self, "merge", reference_of(self.merge))

    def to_dict(self) -> dict[str, Any]:
        return {
            "level": self.level,
            "inputs": list(self.inputs),
            "merge": self.merge,
            "transform": self.transform,
        }


@dataclass(frozen=True)
class Genotype:
    """Topology of a neck: merge cells over given input levels.

    Args:
        levels: input levels, fine to coarse, such as `(3, 4, 5, 6, 7)`; 0 .. `MAX_LEVEL`.
        cells: merge cells, at most `MAX_CELLS`. Cell k may merge up to `MAX_INPUTS` of the nodes
            0 .. len(levels) + k - 1.
        merge_dangling: True to add every unused earlier node of level L to the output cell of level L, before its
            transform (NAS-FPN; pyramid inputs count as nodes).

    Raises:
        GenotypeError: if a cell or the levels are not valid.
    """

    levels: tuple[int, ...]
    cells: tuple[MergeCell, ...]
    merge_dangling: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", _as_tuple("levels", self.levels))
        object.__setattr__(self, "cells", _as_tuple("cells", self.cells))
        check_levels(self.levels)
        if not isinstance(self.merge_dangling, bool):
            raise GenotypeError(f"merge_dangling must be True or False, got {shown(self.merge_dangling)}")
        if len(self.cells) > MAX_CELLS:
            raise GenotypeError(
                f"a genotype has at most {MAX_CELLS} cells, got {len(self.cells)}; stack a smaller one with repeats"
            )
        for index, cell in enumerate(self.cells):
            _check_cell(self.levels, index, cell)

    @property
    def num_nodes(self) -> int:
        return len(self.levels) + len(self.cells)

    @cached_property
    def node_levels(self) -> tuple[int, ...]:
        """Level of every node."""
        return self.levels + tuple(cell.level for cell in self.cells)

    @cached_property
    def outputs(self) -> dict[int, int]:
        """Output nodes, fine to coarse: level -> index of the last node at that level."""
        last = {level: node for node, level in enumerate(self.node_levels)}
        return {level: last[level] for level in sorted(last)}

    @cached_property
    def dangling(self) -> tuple[tuple[int, ...], ...]:
        """Nodes that the dangling rule adds to each cell; none for cells that are not outputs."""
        used: set[int] = set()
        added = []
        for index, cell in enumerate(self.cells):
            node = len(self.levels) + index
            used.update(cell.inputs)
            extra: tuple[int, ...] = ()
            if self.merge_dangling and self.outputs[cell.level] == node:
                extra = tuple(
                    earlier
                    for earlier in range(node)
                    if earlier not in used and self.node_levels[earlier] == cell.level
                )
                used.update(extra)
            added.append(extra)
        return tuple(added)

    @cached_property
    def live_nodes(self) -> frozenset[int]:
        """Nodes that an output depends on. All other cells need not be computed."""
        live = set(self.outputs.values())
        for index in reversed(range(len(self.cells))):
            if len(self.levels) + index in live:
                live.update(self.cells[index].inputs, self.dangling[index])
        return frozenset(live)

    @cached_property
    def fingerprint(self) -> str:
        """Text that is equal for two genotypes if and only if they compute the same function up to weights.

        They do so if their cells with weights can be paired such that, with equal weights in each pair, all outputs are
        equal for every image size and every recipe whose edges have no weights (`laterals="stem"`, `down` not
        `"conv"`). Equal cells with weights stay separate, because each has its own weights. Equal cells without weights
        count as one. These cases do not count as the same function:

        * What holds for one recipe only: for `down="max_pool"`, pooling twice is pooling once, and pooling undoes
          upsampling by one level.
        * Upsampling in two steps and in one: nearest neighbours differ at odd sizes.
        * What follows from a weighted merge being linear or positive: it counts as any function of its operands with
          weights of its own (but `softmax` of one map is that map). So pooling x + w x differs from adding the pooled
          maps x and w x.
        * Order of floating-point additions is not looked at: a sum of sums is one longer sum, of 64 terms at most.
        * Graphs of many cells that are alike all over, and differ in nothing but the order in which they are written.
        """
        return fingerprint(
            self.levels,
            [(cell.level, cell.inputs, cell.merge, cell.transform) for cell in self.cells],
            self.dangling,
            self.outputs,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, with a format version."""
        return {
            "format": FORMAT_VERSION,
            "levels": list(self.levels),
            "merge_dangling": self.merge_dangling,
            "cells": [cell.to_dict() for cell in self.cells],
        }

    def to_json(self, indent: int | None = 2) -> str:
        return json.dumps(self.to_dict(), indent=indent)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Genotype:
        """Read what `to_dict` wrote.

        Raises:
            GenotypeError: on an unknown format version, a missing or unknown field, or an invalid cell.
        """
        _check_fields("genotype", data, {"format", "levels", "merge_dangling", "cells"})
        if data["format"] != FORMAT_VERSION or not is_whole(data["format"]):
            raise GenotypeError(
                f"genotype has format {shown(data['format'])}, this version reads format {FORMAT_VERSION}"
            )
        cells = []
        for index, cell in enumerate(_check_list("cells", data["cells"])):
            _check_fields(f"cell {index}", cell, {"level", "inputs", "merge", "transform"})
            _check_list(f"cell {index}: inputs", cell["inputs"])
            cells.append(MergeCell(cell["level"], tuple(cell["inputs"]), cell["merge"], cell["transform"]))
        return cls(tuple(_check_list("levels", data["levels"])), tuple(cells), data["merge_dangling"])

    @classmethod
    def from_json(cls, text: str) -> Genotype:
        """Read what `to_json` wrote.

        Raises:
            GenotypeError: as `from_dict`, for text that is not JSON or longer than `MAX_TEXT`, and for an object that
                has a field twice.
        """
        if len(text) > MAX_TEXT:
            raise GenotypeError(f"a genotype's JSON text has at most {MAX_TEXT:,} characters, got {len(text):,}")
        data = parse_record(text.encode(errors="surrogatepass"), "the genotype", GenotypeError)
        return cls.from_dict(data)


def _as_tuple(what: str, values: Any) -> tuple[Any, ...]:
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise GenotypeError(f"{what} must be a list, got {shown(values)}")
    return tuple(values)


def _check_fields(what: str, data: object, allowed: set[str]) -> None:
    if not isinstance(data, Mapping):
        raise GenotypeError(f"{what} must be a JSON object with {sorted(allowed)}, got {type(data).__name__}")
    if set(data) != allowed:
        raise GenotypeError(
            f"{what} must have exactly the fields {sorted(allowed)}; missing {sorted(allowed - set(data))}, "
            f"unknown {shown(sorted(set(data) - allowed, key=str))}"
        )


def _check_list(what: str, data: object) -> Sequence[Any]:
    if not isinstance(data, list | tuple):
        raise GenotypeError(f"{what} must be a list, got {shown(data)}")
    return data


def _check_cell(levels: Sequence[int], index: int, cell: object) -> None:
    bank = len(levels) + index
    if not isinstance(cell, MergeCell):
        raise GenotypeError(f"cell {index} must be a MergeCell, got {shown(cell)}")
    if not is_whole(cell.level) or cell.level not in levels:
        raise GenotypeError(f"cell {index}: level {shown(cell.level)} is not one of the levels {tuple(levels)}")
    if len(cell.inputs) > MAX_INPUTS:
        raise GenotypeError(f"cell {index}: a cell has at most {MAX_INPUTS} inputs, got {len(cell.inputs)}")
    for node in cell.inputs:
        if not is_whole(node) or not 0 <= node < bank:
            raise GenotypeError(f"cell {index}: input {shown(node)} is not an earlier node; allowed are 0..{bank - 1}")
    if not cell.inputs or len(set(cell.inputs)) != len(cell.inputs):
        raise GenotypeError(f"cell {index}: inputs must be one or more distinct nodes, got {cell.inputs}")
    if cell.merge not in MERGES and not is_reference(cell.merge):
        raise GenotypeError(
            f"cell {index}: merge {shown(cell.merge)} is unknown; allowed are {MERGES}, and references such as "
            "my_ops:max_maps"
        )
    if cell.merge == "attention" and len(cell.inputs) != 2:
        raise GenotypeError(f"cell {index}: attention merges exactly 2 inputs, got {cell.inputs}")
    if cell.transform not in TRANSFORMS:
        raise GenotypeError(f"cell {index}: transform {shown(cell.transform)} is unknown; allowed are {TRANSFORMS}")
