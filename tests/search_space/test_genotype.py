import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_space import Genotype, GenotypeError, MergeCell
from tests.support.genotype_strategies import genotypes

PLAIN = Genotype((3, 4, 5), (MergeCell(4, (0, 2)), MergeCell(3, (0, 3), "attention")))


@given(genotypes())
def test_json_round_trip_gives_an_equal_genotype(genotype):
    again = Genotype.from_json(genotype.to_json())
    assert again == genotype
    assert hash(again) == hash(genotype)
    assert again.to_dict() == genotype.to_dict()
    assert again.fingerprint == genotype.fingerprint


@given(genotypes())
def test_json_is_plain_and_says_its_format(genotype):
    data = json.loads(genotype.to_json(indent=None))
    assert data["format"] == 1
    assert set(data) == {"format", "levels", "cells", "merge_dangling"}
    assert [cell["level"] for cell in data["cells"]] == list(genotype.node_levels[len(genotype.levels) :])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, r"format 2, this version reads format 1"),
        ({"extra": 1}, r"unknown \['extra'\]"),
        ({"levels": []}, r"levels must be distinct"),
        ({"levels": 3}, r"levels must be a list"),
        ({"cells": None}, r"cells must be a list"),
        ({"cells": [{"level": 3}]}, r"cell 0 must have exactly the fields .* missing \['inputs'"),
        ({"cells": ["sum"]}, r"cell 0 must be a JSON object"),
        ({"merge_dangling": "yes"}, r"merge_dangling must be True or False"),
    ],
)
def test_malformed_data_is_refused_with_the_reason(change, message):
    with pytest.raises(GenotypeError, match=message):
        Genotype.from_dict({**PLAIN.to_dict(), **change})


def test_inputs_that_are_no_list_are_refused_with_the_cell():
    data = PLAIN.to_dict()
    data["cells"][1]["inputs"] = 2
    with pytest.raises(GenotypeError, match=r"cell 1: inputs must be a list"):
        Genotype.from_dict(data)


def test_missing_field_is_named():
    data = PLAIN.to_dict()
    del data["merge_dangling"]
    with pytest.raises(GenotypeError, match=r"missing \['merge_dangling'\]"):
        Genotype.from_dict(data)


@pytest.mark.parametrize("text", ["", "{", "no json"])
def test_text_that_is_not_json_is_refused(text):
    with pytest.raises(GenotypeError, match="is not valid JSON"):
        Genotype.from_json(text)


@pytest.mark.parametrize("levels", [(), (4, 3), (3, 3), (-1, 0), (3.0, 4.0), ("3", "4"), (True, 2)])
def test_invalid_levels_are_refused(levels):
    with pytest.raises(GenotypeError, match="levels must be distinct non-negative integers, fine to coarse"):
        Genotype(levels, ())


BAD_CELLS = [
    (MergeCell(9, (0, 1)), r"level 9 is not one of the levels \(3, 4, 5\)"),
    (MergeCell(3.0, (0, 1)), r"level 3.0 is not one of the levels"),
    (MergeCell(3, (0, 4)), r"input 4 is not an earlier node; allowed are 0\.\.3"),
    (MergeCell(3, (-1, 0)), r"input -1 is not an earlier node"),
    (MergeCell(3, (True, 0)), r"input True is not an earlier node"),
    (MergeCell(3, ("0", 1)), r"input '0' is not an earlier node"),
    (MergeCell(3, ()), r"inputs must be one or more distinct nodes"),
    (MergeCell(3, (1, 1)), r"inputs must be one or more distinct nodes, got \(1, 1\)"),
    (MergeCell(3, (0, 1), "mean"), r"merge 'mean' is unknown; allowed are \('sum', "),
    (MergeCell(3, (0, 1, 2), "attention"), r"attention merges exactly 2 inputs, got \(0, 1, 2\)"),
    (MergeCell(3, (0,), "attention"), r"attention merges exactly 2 inputs"),
    (MergeCell(3, (0, 1), "sum", "relu"), r"transform 'relu' is unknown; allowed are \('conv', 'linear', 'none'\)"),
]


@pytest.mark.parametrize(("cell", "message"), BAD_CELLS)
def test_an_invalid_cell_is_named_with_what_is_allowed(cell, message):
    with pytest.raises(GenotypeError, match=f"cell 1: {message}"):
        Genotype((3, 4, 5), (MergeCell(3, (0, 1)), cell))


@given(genotypes(min_cells=1), st.data())
def test_the_error_names_the_cell_that_was_broken(genotype, data):
    index = data.draw(st.integers(0, len(genotype.cells) - 1))
    broken = dataclasses.replace(genotype.cells[index], inputs=(len(genotype.levels) + index,))
    broken = dataclasses.replace(broken, merge="sum")
    cells = (*genotype.cells[:index], broken, *genotype.cells[index + 1 :])
    with pytest.raises(GenotypeError, match=f"^cell {index}: input {len(genotype.levels) + index} is not"):
        dataclasses.replace(genotype, cells=cells)


@pytest.mark.parametrize("thing", [PLAIN, PLAIN.cells[0]])
def test_genotypes_and_cells_are_frozen(thing):
    for field in dataclasses.fields(thing):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(thing, field.name, getattr(thing, field.name))


def test_lists_become_tuples_so_that_genotypes_hash():
    genotype = Genotype([3, 4, 5], [MergeCell(4, [0, 2]), MergeCell(3, [0, 3], "attention")])
    assert genotype == PLAIN
    assert len({genotype, PLAIN}) == 1


@given(genotypes())
def test_outputs_are_the_last_node_of_every_level_fine_to_coarse(genotype):
    assert list(genotype.outputs) == list(genotype.levels)
    for level, node in genotype.outputs.items():
        assert genotype.node_levels[node] == level
        assert level not in genotype.node_levels[node + 1 :]
    assert len(genotype.node_levels) == genotype.num_nodes


def count_uses_like_tensorflow(genotype):
    """The dangling adds as TensorFlow's decoder finds them: a counter per node, read when an output is built."""
    uses = [0] * genotype.num_nodes
    added = []
    for index, cell in enumerate(genotype.cells):
        node = len(genotype.levels) + index
        is_output = cell.level not in genotype.node_levels[node + 1 :]
        for source in cell.inputs:
            uses[source] += 1
        extra = []
        if genotype.merge_dangling and is_output:
            for earlier in range(node):
                if uses[earlier] == 0 and genotype.node_levels[earlier] == cell.level:
                    extra.append(earlier)
                    uses[earlier] += 1
        added.append(tuple(extra))
    return tuple(added)


@given(genotypes(max_cells=7))
def test_dangling_adds_equal_the_use_counters_of_the_reference(genotype):
    assert genotype.dangling == count_uses_like_tensorflow(genotype)


@given(genotypes(max_cells=7))
def test_live_nodes_are_what_outputs_depend_on(genotype):
    live = set(genotype.outputs.values())
    assert live <= genotype.live_nodes
    first = len(genotype.levels)
    for node in range(genotype.num_nodes):
        users = [
            first + index
            for index, cell in enumerate(genotype.cells)
            if node in cell.inputs or node in genotype.dangling[index]
        ]
        assert (node in genotype.live_nodes) == (node in live or any(user in genotype.live_nodes for user in users))


@given(genotypes(min_cells=1, max_cells=7, merge_dangling=True))
def test_with_the_dangling_rule_no_cell_is_dead(genotype):
    cells = set(range(len(genotype.levels), genotype.num_nodes))
    assert cells <= genotype.live_nodes
