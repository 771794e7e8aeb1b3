"""The largest genotypes and spaces, and what is beyond them: quick, or refused at construction in one line."""

import json
import random
import time
from itertools import count

import pytest

from search_space import (
    MAX_CELLS,
    MAX_INPUTS,
    MAX_LEVEL,
    MAX_SPACE_CELLS,
    Genotype,
    GenotypeError,
    MergeCell,
    NasFpnSpace,
    PyramidSpace,
    genotype_cost,
)

LEVELS = (3, 4, 5, 6, 7)
EVERY_LEVEL = tuple(range(MAX_LEVEL + 1))
SECONDS = 1.0
"""What the fingerprint of the largest genotype may take; it takes a few tenths of it."""


def largest(inputs=MAX_INPUTS, merge="sum", transform="conv", levels=LEVELS, merge_dangling=False):
    """As many cells as there may be, each with the last nodes before it."""
    first = len(levels)
    cells = (
        MergeCell(levels[k % first], tuple(range(max(0, first + k - inputs), first + k)), merge, transform)
        for k in range(MAX_CELLS)
    )
    return Genotype(levels, tuple(cells), merge_dangling)


def layers(width, transform, neighbours):
    """Cells of one input that are alike, and layers of cells that take some of the layer before."""
    nodes, cells = [0] * width, []
    places = count(1)
    for layer in range(MAX_CELLS // width):
        rows = [tuple({nodes[other] for other in neighbours(layer, place, width)}) for place in range(width)]
        cells += [MergeCell(3, tuple(sorted(row)), "sum", transform) for row in rows]
        nodes = [next(places) for _ in range(width)]
    return Genotype((3,), (*cells[:-1], MergeCell(3, (nodes[0],))), merge_dangling=True)


def random_neighbours(layer, place, width):
    return random.Random(f"{layer}:{place}").sample(range(width), 3)


GENOTYPES = {
    "dense": largest(),
    "dense over all levels": largest(levels=EVERY_LEVEL),
    "dense sums of sums": largest(transform="none"),
    "dense sums of sums over all levels": largest(transform="none", levels=EVERY_LEVEL),
    "dense weighted": largest(merge="fast_normalized", transform="none"),
    "dangling": largest(1, merge_dangling=True),
    "chain": largest(1),
    "chain without weights": largest(1, transform="none"),
    "doubling": largest(2, transform="none", levels=(3, 4)),
    "gated": largest(2, merge="attention", transform="none"),
    "alike": layers(16, "conv", lambda layer, place, width: [0]),
    "each takes all": layers(16, "conv", lambda layer, place, width: range(width)),
    "each takes all but one": layers(16, "conv", lambda layer, place, width: set(range(width)) - {place}),
    "rings": layers(16, "conv", lambda layer, place, width: [place, (place + 1) % width]),
    "one ring": layers(42, "conv", lambda layer, place, width: [place, (place + 1) % width]),
    "random layers": layers(32, "conv", random_neighbours),
    "random sums": layers(32, "none", random_neighbours),
}


@pytest.mark.parametrize("name", GENOTYPES)
def test_the_largest_genotypes_are_looked_at_quickly(name):
    genotype = GENOTYPES[name]
    start = time.process_time()
    assert len(genotype.fingerprint) == 16
    assert Genotype.from_json(genotype.to_json()) == genotype
    sizes = [(2**9, 2**9)]
    assert genotype_cost(genotype, channels=8, in_channels=(8,), in_sizes=sizes).macs >= 0
    assert time.process_time() - start < SECONDS


@pytest.mark.parametrize("name", ["dense", "doubling", "each takes all", "rings", "dense sums of sums"])
def test_another_order_of_the_inputs_of_the_largest_is_the_same_function(name):
    genotype = GENOTYPES[name]
    cells = tuple(MergeCell(c.level, c.inputs[::-1], c.merge, c.transform) for c in genotype.cells)
    assert Genotype(genotype.levels, cells, genotype.merge_dangling).fingerprint == genotype.fingerprint


def test_long_sums_that_count_their_terms_otherwise_are_told_apart():
    def doubled(times, other):
        cells = [MergeCell(3, (0,), transform="none"), MergeCell(3, (0, 1), transform="none")]
        cells += [MergeCell(3, (node - 2, node - 1), transform="none") for node in range(3, times)]
        return Genotype((3, 4), (*cells, MergeCell(3, (other, len(cells) + 1)), MergeCell(4, (1,))))

    assert doubled(20, 0).fingerprint == doubled(20, 0).fingerprint
    assert len({doubled(times, other).fingerprint for times in range(16, 24) for other in (0, 3, 5)}) == 24


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Genotype((3,), (MergeCell(3, (0,)),) * (MAX_CELLS + 1)), "has at most 128 cells, got 129"),
        (lambda: Genotype((3,), (MergeCell(3, (0,)),) * 100_000), "has at most 128 cells"),
        (lambda: Genotype((3, MAX_LEVEL + 1), ()), "levels must be .* 16 at most"),
        (lambda: Genotype((3, 10**30), ()), "levels must be .* an integer of 100 bits"),
        (lambda: Genotype((3, 10**5000), ()), "levels must be .* an integer of"),
        (lambda: Genotype((3,), (MergeCell(10**5000, (0,)),)), "cell 0: level an integer of"),
        (lambda: Genotype((1,), (MergeCell(True, (0,)),)), "cell 0: level True is not one of"),
        (lambda: Genotype((3,), (MergeCell(3, tuple(range(18))),)), "cell 0: a cell has at most 17 inputs, got 18"),
        (lambda: Genotype((3,), ("cell",)), "cell 0 must be a MergeCell"),
        (lambda: Genotype(3, ()), "levels must be a list, got 3"),
        (lambda: Genotype((3,), None), "cells must be a list, got None"),
        (lambda: MergeCell(3, 0), "inputs must be a list, got 0"),
        (lambda: MergeCell(3, "01"), "inputs must be a list, got '01'"),
        (lambda: NasFpnSpace(MAX_SPACE_CELLS + 1), "num_cells must be an integer in 1..64"),
        (lambda: NasFpnSpace(10**9), "num_cells must be an integer in 1..64"),
        (lambda: NasFpnSpace(7.0), "num_cells must be an integer in 1..64, got 7.0"),
        (lambda: NasFpnSpace(True, (0,)), "two levels or more|num_cells must be an integer"),
        (lambda: PyramidSpace(max_cells=10**9), "max_cells must be an integer in 0..64"),
        (lambda: PyramidSpace(max_cells=9.5), "max_cells must be an integer in 0..64, got 9.5"),
        (lambda: PyramidSpace(min_cells=True), "min_cells must be an integer in 0..64, got True"),
        (lambda: PyramidSpace(max_inputs=2.0), "max_inputs must be in 1..8, got 2.0"),
    ],
)
def test_beyond_the_bounds_is_refused_at_once(make, message):
    start = time.process_time()
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert time.process_time() - start < SECONDS
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


PLAIN = Genotype((3, 4), (MergeCell(3, (0, 1)),))


def changed(**fields):
    data = PLAIN.to_dict()
    data["cells"][0] |= {name: value for name, value in fields.items() if name in data["cells"][0]}
    data |= {name: value for name, value in fields.items() if name in data}
    return json.dumps(data)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[" * 100_000, id="deep"),
        pytest.param('{"levels": ' * 100_000, id="deep objects"),
        pytest.param("1" * 5000, id="5,000 digits"),
        pytest.param(changed(level=3).replace("3", "3" * 5000), id="5,000 digits inside"),
        pytest.param(" " * 3_000_000, id="long"),
        pytest.param(changed().replace('"format": 1', '"format": 1, "format": 1'), id="twice"),
        pytest.param(changed(format=True), id="format true"),
        pytest.param(changed(format=1.0), id="format 1.0"),
        *(pytest.param(changed(level=value), id=f"level {value!r}") for value in (True, 3.0, "3", None, [3], 1e308)),
        pytest.param(changed(level=float("nan")), id="level nan"),
        pytest.param(changed(inputs=[0.0]), id="input 0.0"),
        pytest.param(changed(inputs=[False]), id="input false"),
        pytest.param(changed(levels=[3, 4.0]), id="levels 4.0"),
        pytest.param(changed(merge_dangling=0), id="merge_dangling 0"),
        pytest.param(changed(merge=["sum"]), id="merge list"),
        pytest.param(changed(merge="x" * 100_000), id="long merge"),
        pytest.param(changed(cells=[[]]), id="cells list"),
        pytest.param("\ud83d", id="surrogate"),
    ],
)
def test_odd_json_is_refused_in_one_short_line(text):
    with pytest.raises(GenotypeError) as caught:
        Genotype.from_json(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "space",
    [
        NasFpnSpace(MAX_SPACE_CELLS),
        NasFpnSpace(MAX_SPACE_CELLS, EVERY_LEVEL),
        PyramidSpace(max_cells=MAX_SPACE_CELLS, max_inputs=8),
        PyramidSpace(EVERY_LEVEL, max_cells=MAX_SPACE_CELLS, max_inputs=8),
    ],
    ids=["nas_fpn", "nas_fpn over all levels", "pyramid", "pyramid over all levels"],
)
def test_the_largest_spaces_are_quick(space):
    start = time.process_time()
    assert space.size() > 10**100
    rng = random.Random(0)
    genotype = space.sample(rng)
    assert space.decode(space.encode(genotype)) == genotype
    assert space.contains(space.mutate(genotype, rng))
    assert next(space.neighbours(genotype)) != genotype
    assert genotype.fingerprint
    assert time.process_time() - start < SECONDS
