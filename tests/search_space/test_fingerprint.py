import time
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from search_space import KNOWN, Genotype, MergeCell, NasFpnSpace
from tests.support.genotype_strategies import canonical, genotypes, insert_cell, merge_cells, reordered

LEVELS = (3, 4, 5)


def of(*cells, merge_dangling=False):
    return Genotype(LEVELS, cells, merge_dangling).fingerprint


@given(genotypes(min_cells=1), st.randoms(use_true_random=False))
def test_order_of_inputs_does_not_matter_where_roles_are_equal(genotype, rng):
    def shuffle(cell):
        levels = {genotype.node_levels[node] for node in cell.inputs}
        if cell.merge == "attention" and len(levels) == 1:
            return cell
        return replace(cell, inputs=tuple(rng.sample(cell.inputs, len(cell.inputs))))

    shuffled = replace(genotype, cells=tuple(shuffle(cell) for cell in genotype.cells))
    assert shuffled.fingerprint == genotype.fingerprint


@given(genotypes(min_cells=2, max_cells=6, merge_dangling=False), st.permutations(range(6)))
def test_order_of_independent_cells_does_not_matter(genotype, rank):
    assert reordered(genotype, rank).fingerprint == genotype.fingerprint


@given(genotypes(min_cells=1, merge_dangling=False), st.data())
def test_dead_cells_do_not_matter_without_the_dangling_rule(genotype, data):
    index = data.draw(st.sampled_from(sorted(set(genotype.outputs.values()) - set(range(len(genotype.levels))))))
    index -= len(genotype.levels)
    dead = replace(
        data.draw(merge_cells(genotype.levels, len(genotype.levels) + index)), level=genotype.cells[index].level
    )
    assert insert_cell(genotype, index, dead).fingerprint == genotype.fingerprint


def test_an_unused_cell_matters_with_the_dangling_rule():
    output, unused = MergeCell(3, (0, 1)), MergeCell(3, (0, 2))
    with_unused = of(unused, output, merge_dangling=True)
    assert with_unused != of(output, merge_dangling=True)
    assert of(unused, output) == of(output)


@pytest.mark.parametrize("levels", [(4, 5), (5, 4)])
def test_attention_at_unequal_levels_ignores_the_order_of_inputs(levels):
    coarser = LEVELS.index(max(levels))
    finer = LEVELS.index(min(levels))
    assert of(MergeCell(3, (coarser, finer), "attention")) == of(MergeCell(3, (finer, coarser), "attention"))


def test_attention_at_equal_levels_takes_the_first_input_as_the_coarser():
    twin = MergeCell(4, (0, 2))
    assert of(twin, MergeCell(4, (1, 3), "attention")) != of(twin, MergeCell(4, (3, 1), "attention"))


def test_a_dangling_add_to_a_sum_equals_an_explicit_input():
    added = of(MergeCell(5, (0, 1)), merge_dangling=True)
    assert added == of(MergeCell(5, (0, 1, 2)))
    assert added != of(MergeCell(5, (0, 1)))


@pytest.mark.parametrize("merge", ["attention", "fast_normalized"])
def test_a_dangling_add_to_another_merge_is_not_an_input_of_it(merge):
    added = of(MergeCell(5, (0, 1), merge), merge_dangling=True)
    assert added != of(MergeCell(5, (0, 1), merge))
    assert added != of(MergeCell(5, (0, 1, 2), "fast_normalized"))


def test_cells_that_are_alike_keep_their_own_weights():
    a, b = MergeCell(4, (0, 1)), MergeCell(4, (0, 1))
    assert of(a, b, MergeCell(3, (3, 4))) != of(a, MergeCell(3, (3, 0)))


def test_twins_are_told_apart_by_their_users_only():
    twins = (MergeCell(4, (0, 1)), MergeCell(4, (0, 1)))
    first = of(*twins, MergeCell(3, (0, 3)), MergeCell(5, (2, 4)))
    second = of(*twins, MergeCell(3, (0, 4)), MergeCell(5, (2, 3)))
    same_twin = of(*twins, MergeCell(3, (0, 3)), MergeCell(5, (2, 3)))
    # The later twin is P4's output, so it matters which of them the others use.
    assert len({first, second, same_twin}) == 3
    hidden = (*twins, MergeCell(4, (0, 2)))
    assert of(*hidden, MergeCell(3, (0, 3)), MergeCell(5, (2, 4))) == of(
        *hidden, MergeCell(3, (0, 4)), MergeCell(5, (2, 3))
    )


@pytest.mark.parametrize(
    "other",
    [
        MergeCell(3, (0, 2)),
        MergeCell(4, (0, 1)),
        MergeCell(3, (0, 1), "attention"),
        MergeCell(3, (0, 1), "fast_normalized"),
        MergeCell(3, (0, 1), "sum", "none"),
        MergeCell(3, (0, 1, 2)),
        MergeCell(3, (0,)),
    ],
)
def test_every_field_of_a_live_cell_matters(other):
    assert of(other) != of(MergeCell(3, (0, 1)))


def test_levels_matter():
    assert Genotype((3, 4), ()).fingerprint != Genotype((4, 5), ()).fingerprint


@given(genotypes(min_cells=1, max_cells=5), st.data())
def test_equal_exactly_when_the_graphs_are_isomorphic_if_every_cell_has_a_transform(genotype, data):
    genotype = replace(genotype, cells=tuple(replace(cell, transform="conv") for cell in genotype.cells))
    index = data.draw(st.integers(0, len(genotype.cells) - 1))
    cell = replace(data.draw(merge_cells(genotype.levels, len(genotype.levels) + index)), transform="conv")
    other = replace(genotype, cells=(*genotype.cells[:index], cell, *genotype.cells[index + 1 :]))
    assume(other != genotype)
    assert (other.fingerprint == genotype.fingerprint) == (canonical(other) == canonical(genotype))


@pytest.mark.parametrize(
    "space", [NasFpnSpace(2, (3, 4)), NasFpnSpace(3, (3, 4)), NasFpnSpace(3, (3, 4), (3, 4))], ids=["2", "3", "3+P3"]
)
def test_classes_of_a_whole_space_equal_those_of_brute_force(space):
    pairs = {(genotype.fingerprint, canonical(genotype)) for genotype in space.enumerate()}
    assert len({fingerprint for fingerprint, _ in pairs}) == len(pairs)
    assert len({graph for _, graph in pairs}) == len(pairs)
    assert len(pairs) < space.size()


SUM = {"transform": "none"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param([MergeCell(3, (0,), **SUM)], [], id="an identity is its input"),
        pytest.param([MergeCell(3, (0,), "softmax", "none")], [], id="softmax of one map is that map"),
        pytest.param(
            [MergeCell(3, (0, 1), **SUM), MergeCell(3, (3, 2))], [MergeCell(3, (0, 1, 2))], id="a sum within a sum"
        ),
        pytest.param(
            [MergeCell(4, (1, 2), **SUM), MergeCell(3, (0, 3)), MergeCell(4, (1,))],
            [MergeCell(4, (2,), **SUM), MergeCell(4, (1,), **SUM), MergeCell(3, (0, 3, 4)), MergeCell(4, (1,))],
            id="upsampling goes through a sum",
        ),
        pytest.param(
            [MergeCell(4, (0,), **SUM), MergeCell(4, (0,), **SUM), MergeCell(4, (3, 4))],
            [MergeCell(3, (0,), **SUM), MergeCell(3, (0, 3), **SUM), MergeCell(4, (4,)), MergeCell(3, (0,), **SUM)],
            id="pooling twice the map is twice the pooled map",
        ),
        pytest.param(
            [MergeCell(4, (1, 2), "attention", "none"), MergeCell(4, (3,))],
            [MergeCell(4, (1, 2), "attention")],
            id="a merge and its transform in two cells",
        ),
        pytest.param(
            [MergeCell(4, (1, 2), "fast_normalized", "none"), MergeCell(4, (3,))],
            [MergeCell(4, (1, 2), "fast_normalized")],
            id="a weighted merge and its transform in two cells",
        ),
        pytest.param(
            [MergeCell(4, (1, 2), "attention", "none"), MergeCell(3, (0, 3)), MergeCell(4, (3,))],
            [
                *(MergeCell(4, (1, 2), "attention", "none"), MergeCell(4, (1, 2), "attention", "none")),
                *(MergeCell(3, (0, 3)), MergeCell(4, (4,))),
            ],
            id="maps without weights that are alike are one",
        ),
    ],
)
def test_cells_without_weights_are_written_in_one_way(one, other):
    assert of(*one) == of(*other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(
            [MergeCell(4, (2,), **SUM), MergeCell(3, (3,)), MergeCell(4, (1,))],
            [MergeCell(3, (2,)), MergeCell(4, (1,))],
            id="upsampling in two steps, at odd sizes",
        ),
        pytest.param(
            [MergeCell(3, (0, 1), **SUM), MergeCell(5, (3,)), MergeCell(3, (0,))],
            [MergeCell(5, (0, 1)), MergeCell(3, (0,))],
            id="pooling a sum",
        ),
        pytest.param([MergeCell(3, (0,), "fast_normalized", "none")], [], id="a weight on one map"),
        pytest.param([MergeCell(3, (0,), **SUM), MergeCell(3, (0, 3), **SUM)], [], id="twice the map"),
        pytest.param(
            [MergeCell(4, (1, 2), "fast_normalized", "none"), MergeCell(3, (0, 3)), MergeCell(4, (3,))],
            [
                *(MergeCell(4, (1, 2), "fast_normalized", "none"), MergeCell(4, (1, 2), "fast_normalized", "none")),
                *(MergeCell(3, (0, 3)), MergeCell(4, (4,))),
            ],
            id="weights shared and weights of each",
        ),
    ],
)
def test_what_looks_alike_and_is_not(one, other):
    assert of(*one) != of(*other)


P3_TO_P7 = (3, 4, 5, 6, 7)
TWINS = {
    "17 twins": (*(MergeCell(4, (0, 1)) for _ in range(16)), MergeCell(4, tuple(range(5, 21)))),
    "each with a user": (
        *(MergeCell(4, (0, 1)) for _ in range(8)),
        *(MergeCell(5, (2, 5 + twin)) for twin in range(8)),
        MergeCell(5, tuple(range(13, 21))),
    ),
    "each with another user": (
        *(MergeCell(4, (0, 1)) for _ in range(8)),
        *(MergeCell(P3_TO_P7[twin % 5], (twin % 4, 5 + twin)) for twin in range(8)),
        MergeCell(5, tuple(range(13, 21))),
    ),
    "a ring": (
        *(MergeCell(4, (0, 1)) for _ in range(8)),
        *(MergeCell(5, (5 + twin, 5 + (twin + 1) % 8)) for twin in range(8)),
        MergeCell(5, tuple(range(13, 21))),
    ),
    "two rings": (
        *(MergeCell(4, (0, 1)) for _ in range(8)),
        *(MergeCell(5, (5 + twin, 5 + twin // 4 * 4 + (twin + 1) % 4)) for twin in range(8)),
        MergeCell(5, tuple(range(13, 21))),
    ),
    "a user for every pair": (
        *(MergeCell(4, (0, 1)) for _ in range(6)),
        *(MergeCell(5, (5 + a, 5 + b)) for a, b in combinations(range(6), 2)),
        MergeCell(5, tuple(range(11, 26))),
    ),
    "five pairs": (
        *(MergeCell(4, (0, 1)) for _ in range(5)),
        *(MergeCell(5, (2, 5 + twin)) for twin in range(5)),
        MergeCell(5, tuple(range(10, 15))),
    ),
}


@pytest.mark.parametrize("name", TWINS)
def test_many_twins_take_no_time(name):
    genotype = Genotype(P3_TO_P7, TWINS[name])
    start = time.process_time()
    assert genotype.fingerprint
    assert time.process_time() - start < 0.05


@pytest.mark.parametrize("name", TWINS)
@given(rank=st.permutations(range(22)))
@settings(max_examples=20)
def test_many_twins_in_any_order_are_one_graph(name, rank):
    genotype = Genotype(P3_TO_P7, TWINS[name])
    assert reordered(genotype, rank).fingerprint == genotype.fingerprint


def test_many_twins_with_other_users_are_another_graph():
    assert len({Genotype(P3_TO_P7, cells).fingerprint for cells in TWINS.values()}) == len(TWINS)


# Old journals hold these: cells that all have transforms keep the fingerprints from before sums were flattened.
RECORDED = {"nas_fpn": "afe5316ec3df9f6f", "bifpn": "65245f4385e0b277", "same_level": "ca55af43a7110cba"}


@pytest.mark.parametrize("name", RECORDED)
def test_fingerprints_of_transformed_cells_are_those_of_old_journals(name):
    assert KNOWN[name]().fingerprint == RECORDED[name]


def test_the_known_topologies_all_differ():
    for (name, first), (other, second) in combinations(KNOWN.items(), 2):
        assert first().fingerprint != second().fingerprint, (name, other)
