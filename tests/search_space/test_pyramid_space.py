import pickle
import random
import time
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_space import KNOWN, Genotype, MergeCell, NasFpnSpace, PyramidSpace, known, nas_fpn_space, pyramid_space

SMALL = {
    "2 cells": PyramidSpace((3, 4), max_cells=2),
    "1 or 2 cells anywhere": PyramidSpace(
        (3, 4), min_cells=1, max_cells=2, max_inputs=2, merges=("sum", "attention"), transforms=("conv",),
        merge_dangling=(False,), every_level=False,
    ),
    "P3 once": PyramidSpace(
        (3, 4), max_cells=3, max_inputs=2, merges=("sum",), transforms=("conv",), intermediate_levels=(4,),
        merge_dangling=(True,),
    ),
    "P3 once or never": PyramidSpace(
        (3, 4), min_cells=0, max_cells=2, merges=("sum",), intermediate_levels=(4,), every_level=False
    ),
    "pairs only": PyramidSpace((3, 4), max_cells=2, merges=("attention",)),
    "3 levels": PyramidSpace(
        (3, 4, 5), max_cells=4, max_inputs=1, merges=("sum",), transforms=("conv",), merge_dangling=(False,)
    ),
}  # fmt: skip
LARGE = {
    "default": pyramid_space(),
    "paper's levels": PyramidSpace(max_cells=9, intermediate_levels=(4, 5, 6, 7), transforms=("conv",)),
    "by number of cells": PyramidSpace(uniform="num_cells"),
    "everything": PyramidSpace(
        (2, 3, 5), min_cells=0, max_cells=24, max_inputs=5, every_level=False,
        merges=("softmax", "attention", "sum"), transforms=("none", "linear"),
    ),
}  # fmt: skip


@pytest.fixture(params=SMALL.values(), ids=SMALL.keys())
def small(request):
    return request.param


@pytest.fixture(params=LARGE.values(), ids=LARGE.keys())
def large(request):
    return request.param


def seeds():
    return st.integers(0, 2**32)


@pytest.mark.parametrize("name", ["same_level", "fpn", "panet", "pafpn", "bifpn", "nas_fpn", "pan"])
def test_the_default_space_holds_the_classics(name):
    space, genotype = pyramid_space(), KNOWN[name]()
    assert space.contains(genotype)
    assert space.decode(space.encode(genotype)) == genotype


@pytest.mark.parametrize("name", KNOWN)
def test_a_larger_space_holds_every_known_neck(name):
    space = PyramidSpace(min_cells=0, max_cells=21, max_inputs=5, every_level=False)
    assert space.decode(space.encode(KNOWN[name]())) == KNOWN[name]()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none", r"num_cells is 0, allowed here are \(5, 6,"),
        ("quad_fpn", r"num_cells is 21, allowed here are .* 17\)"),
        ("fully_connected_fpn", r"cell0.num_inputs is 5, allowed here are \(1, 2, 3\)"),
    ],
)
def test_encode_says_why_the_default_space_has_no_such_neck(name, message):
    assert not pyramid_space().contains(KNOWN[name]())
    with pytest.raises(ValueError, match=message):
        pyramid_space().encode(KNOWN[name]())


@settings(max_examples=30)
@given(seeds())
def test_every_point_of_the_published_space_is_one_once_its_inputs_are_in_order(seed):
    genotype = nas_fpn_space().sample(random.Random(seed))
    ordered = pyramid_space().ordered(genotype)
    assert ordered.fingerprint == genotype.fingerprint
    same_level_gates = any(
        cell.merge == "attention" and len({genotype.node_levels[node] for node in cell.inputs}) == 1
        for cell in genotype.cells
    )
    assert same_level_gates or pyramid_space().contains(ordered)


def test_every_sequence_is_a_point_and_encode_inverts_decode(small):
    def walk(choices):
        decision = small.next_decision(choices)
        if decision is None:
            yield choices
            return
        assert decision.allowed
        assert set(decision.allowed) <= set(decision.choices)
        assert len(set(decision.allowed)) == len(decision.allowed)
        for choice in decision.allowed:
            yield from walk({**choices, decision.name: choice})

    points = set()
    for choices in walk({}):
        genotype = small.decode(choices)
        assert small.encode(genotype) == choices
        points.add(genotype)
    assert small.size() == len(points) == len(list(small.enumerate()))


def test_the_points_are_all_genotypes_that_the_parameters_allow():
    """Counted from the definition: P3 at most once, one to three inputs, sums, two transforms."""
    space = SMALL["P3 once or never"]
    found = 0
    for levels in ([], [3], [4], [3, 4], [4, 3], [4, 4]):
        ways = 1
        for index in range(len(levels)):
            bank = 2 + index
            subsets = sum(1 for mask in range(1, 2**bank) if bin(mask).count("1") <= 3)
            ways *= subsets * 2
        found += 2 * ways
    assert space.size() == found


def test_count_of_every_prefix_equals_brute_force(small):
    completions = Counter()
    for genotype in small.enumerate():
        items = tuple(small.encode(genotype).items())
        completions.update(items[:length] for length in range(len(items) + 1))
    for prefix, expected in completions.items():
        assert small.count(dict(prefix)) == expected, prefix


def test_names_have_the_same_choices_in_every_trial(large):
    rng, fixed = random.Random(0), {}
    for _ in range(20):
        choices = {}
        while (decision := large.next_decision(choices)) is not None:
            assert fixed.setdefault(decision.name, decision.choices) == decision.choices
            choices[decision.name] = rng.choice(decision.allowed)


@settings(max_examples=25)
@given(seeds())
def test_samples_and_mutants_stay_inside(seed):
    rng = random.Random(seed)
    for space in LARGE.values():
        genotype = space.sample(rng)
        assert space.decode(space.encode(genotype)) == genotype
        mutant = space.mutate(genotype, rng)
        assert mutant != genotype
        assert space.decode(space.encode(mutant)) == mutant


@settings(max_examples=10)
@given(seeds())
def test_neighbours_stay_inside(seed):
    space = LARGE["paper's levels"]
    genotype = space.sample(random.Random(seed))
    neighbours = list(space.neighbours(genotype))
    assert neighbours
    assert genotype not in neighbours
    assert len(set(neighbours)) == len(neighbours)
    assert all(space.contains(neighbour) for neighbour in neighbours)


def test_mutants_and_neighbours_of_every_point_are_other_points(small):
    points = list(small.enumerate())
    inside, rng = set(points), random.Random(1)
    for genotype in rng.sample(points, min(len(points), 300)):
        others = {small.mutate(genotype, rng) for _ in range(4)} | set(small.neighbours(genotype))
        assert others <= inside - {genotype}


def changed_cells(first, second):
    def content(cell):
        return (cell.level, set(cell.inputs), cell.merge, cell.transform)

    return sum(content(a) != content(b) for a, b in zip(first.cells, second.cells, strict=False))


@settings(max_examples=100)
@given(seeds())
def test_mutation_changes_little(seed):
    """One cell, two that exchange levels, or one more or less and the level that only it had."""
    rng = random.Random(seed)
    space = rng.choice([LARGE["default"], LARGE["paper's levels"]])
    parent = space.sample(rng)
    child = space.mutate(parent, rng)
    assert abs(len(child.cells) - len(parent.cells)) <= 1
    assert changed_cells(parent, child) <= 2
    if len(child.cells) != len(parent.cells):
        assert child.merge_dangling == parent.merge_dangling


def test_mutation_reaches_every_kind_of_decision():
    space, rng, parent = pyramid_space(), random.Random(0), known.bifpn()
    before = space.encode(parent)
    changed = Counter()
    for _ in range(1500):
        after = space.encode(space.mutate(parent, rng))
        changed.update(name for name in before if before[name] != after.get(name))
    assert set(changed) == set(before)


def test_mutation_connects_a_small_space():
    space, rng = SMALL["P3 once"], random.Random(0)
    start = next(space.enumerate())
    reached, genotype = {start}, start
    for _ in range(9_000):
        genotype = space.mutate(genotype, rng)
        reached.add(genotype)
    assert len(reached) == space.size()


def chi_square_limit(freedom):
    """Exceeded by one uniform sampler in a million (Wilson and Hilferty's approximation)."""
    part = 2 / (9 * freedom)
    return freedom * (1 - part + 4.753 * part**0.5) ** 3


@pytest.mark.parametrize("space", [SMALL["1 or 2 cells anywhere"], SMALL["P3 once"], NasFpnSpace(3, (3, 4))])
def test_sampling_is_uniform(space):
    rng, draws = random.Random(0), 30 * space.size()
    seen = Counter(space.sample(rng) for _ in range(draws))
    statistic = sum((seen[point] - 30) ** 2 / 30 for point in space.enumerate())
    assert sum(seen.values()) == draws
    assert statistic < chi_square_limit(space.size() - 1)


def test_sampling_by_number_of_cells_is_uniform_in_it_and_then_within():
    space = PyramidSpace(
        (3, 4), min_cells=1, max_cells=2, max_inputs=2, merges=("sum",), transforms=("conv",),
        merge_dangling=(False,), every_level=False, uniform="num_cells",
    )  # fmt: skip
    rng, draws = random.Random(0), 8000
    seen = Counter(space.sample(rng) for _ in range(draws))
    points = list(space.enumerate())
    sizes = Counter(len(point.cells) for point in points)
    expected = {point: draws / 2 / sizes[len(point.cells)] for point in points}
    statistic = sum((seen[point] - count) ** 2 / count for point, count in expected.items())
    assert statistic < chi_square_limit(len(points) - 1)


def test_uniform_samples_mostly_have_the_most_cells_and_the_option_changes_that():
    rng = random.Random(0)
    most = [len(LARGE["default"].sample(rng).cells) for _ in range(50)]
    spread = Counter(len(LARGE["by number of cells"].sample(rng).cells) for _ in range(300))
    assert min(most) >= 16
    assert set(spread) == set(range(5, 18))


def test_only_intermediate_levels_have_cells_that_are_no_output(large):
    rng = random.Random(0)
    for _ in range(30):
        genotype = large.sample(rng)
        outputs = set(genotype.outputs.values())
        inner = {
            level
            for node, level in enumerate(genotype.node_levels)
            if node >= len(large.levels) and node not in outputs
        }
        assert inner <= set(large.intermediate_levels)
        if large.every_level:
            assert min(outputs) >= len(large.levels)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"merges": ("mean",)}, r"merges must be distinct values of \('sum', 'attention'.*got \('mean',\)"),
        ({"merges": ()}, "merges must be distinct values .* one or more"),
        ({"merges": ("sum", "sum")}, "merges must be distinct"),
        ({"transforms": ("mlp",)}, "transforms must be distinct values of"),
        ({"max_inputs": 0}, r"max_inputs must be in 1\.\.8, got 0"),
        ({"max_inputs": 9}, r"max_inputs must be in 1\.\.8, got 9"),
        ({"min_cells": 6, "max_cells": 5}, r"min_cells must be in 0\.\.max_cells .* got 6 and 5"),
        ({"min_cells": 0, "max_cells": 0}, "max_cells positive"),
        ({"max_cells": 4}, "got 5 and 4"),
        ({"min_cells": 3}, r"no genotype has 3 cells with levels .* every_level=True"),
        (
            {"merges": ("attention",), "max_inputs": 1},
            r"no genotype has 5 cells .* merges \('attention',\) and up to 1",
        ),
        ({"intermediate_levels": (8,)}, r"intermediate_levels must be distinct values of \(3, 4, 5, 6, 7\)"),
        ({"merge_dangling": ()}, "merge_dangling must be distinct values"),
        ({"uniform": "cells"}, "uniform must be one of"),
        ({"levels": (5, 4, 3)}, "levels must be distinct non-negative integers, fine to coarse"),
    ],
)
def test_impossible_spaces_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        PyramidSpace(**arguments)


def bifpn_with(index, **fields):
    genotype = known.bifpn()
    cells = list(genotype.cells)
    cells[index] = replace(cells[index], **fields)
    return replace(genotype, cells=tuple(cells))


@pytest.mark.parametrize(
    ("space", "genotype", "message"),
    [
        (pyramid_space(), known.fpn((3, 4, 5)), r"have levels \(3, 4, 5, 6, 7\), got \(3, 4, 5\)"),
        (pyramid_space(), bifpn_with(0, merge="softmax"), r"cell0.merge is 'softmax', allowed here are"),
        (pyramid_space(), bifpn_with(0, transform="linear"), r"cell0.transform is 'linear', allowed here are"),
        (pyramid_space(), bifpn_with(0, inputs=(4, 3)), r"cell 0: .* \(3, 4\), got \(4, 3\) \(`ordered` brings"),
        (pyramid_space(), bifpn_with(0, inputs=(0, 1, 2, 3)), r"cell 0: this space writes inputs"),
        (PyramidSpace(max_inputs=2), known.bifpn(), r"cell4.num_inputs is 3, allowed here are \(1, 2\)"),
        (PyramidSpace(merge_dangling=(True,)), known.fpn(), r"merge_dangling is False, allowed here are \(True,\)"),
        (LARGE["paper's levels"], known.same_level(), None),
        (
            PyramidSpace(intermediate_levels=(4, 5, 6, 7)),
            known.fpn(),
            r"cell8.level is 7, allowed here|cell4.level is 3, allowed here are \(4, 5, 6, 7\)",
        ),
        (
            PyramidSpace((3, 4), max_cells=3),
            Genotype((3, 4), (MergeCell(3, (0,)), MergeCell(3, (0,)))),
            r"cell1.level is 3, allowed here are \(4,\)",
        ),
    ],
)
def test_encode_says_why_a_genotype_is_not_a_point(space, genotype, message):
    assert space.contains(genotype) == (message is None)
    if message is not None:
        with pytest.raises(ValueError, match=message):
            space.encode(genotype)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_cells": 3}, r"num_cells is 3, allowed here"),
        ({"cell0.input_b": 3}, r"cell0.input_b is 3, allowed here are \(0, 1, 2, 4\)"),
        ({"cell0.merge": None}, "cell0.merge is None, allowed here"),
        ({"cell0.input_c": 2}, r"does not have: \['cell0.input_c'\]"),
    ],
)
def test_decode_refuses_what_is_not_allowed_or_unknown(change, message):
    space = pyramid_space()
    with pytest.raises(ValueError, match=message):
        space.decode({**space.encode(known.bifpn()), **change})


def test_the_default_space_has_its_exact_size():
    assert f"{pyramid_space().size():.3e}" == "1.913e+65"


def test_sampling_uses_only_the_given_generator(large):
    state = random.getstate()
    first = large.sample(random.Random(5))
    large.mutate(first, random.Random(5))
    assert random.getstate() == state
    assert large.sample(random.Random(5)) == first


def test_survives_pickling(large):
    genotype = large.sample(random.Random(5))
    again = pickle.loads(pickle.dumps(large))
    assert again.size() == large.size()
    assert again.sample(random.Random(5)) == genotype
    assert again.encode(genotype) == large.encode(genotype)


def test_a_step_of_a_search_takes_milliseconds():
    """A few at 24 cells; the limit leaves room for a busy machine."""
    space, rng = PyramidSpace(max_cells=24), random.Random(0)
    genotype = space.sample(rng)
    start = time.process_time()
    for _ in range(10):
        genotype = space.mutate(space.sample(rng), rng)
        space.encode(genotype)
    assert (time.process_time() - start) / 10 < 0.05
    start = time.process_time()
    assert PyramidSpace(max_cells=24).size() > 10**90
    assert time.process_time() - start < 0.05
