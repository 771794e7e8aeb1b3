import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from search_space import Genotype, MergeCell, PyramidSpace, known, match_cells
from search_space.matching import live_cells
from tests.support.genotype_strategies import genotypes

SPACE = PyramidSpace(max_cells=12)


@given(genotypes(max_cells=6))
def test_a_genotype_is_paired_with_itself_cell_by_cell(genotype):
    matches = match_cells(genotype, genotype)
    assert [(match.child, match.parent) for match in matches] == [(at, at) for at in range(len(live_cells(genotype)))]
    assert all(match.operands == tuple(range(len(match.operands))) for match in matches)


@given(genotypes(max_cells=6), genotypes(max_cells=6))
def test_pairs_are_of_one_kind_and_operands_go_one_to_one(child, parent):
    parent = parent if parent.levels == child.levels else Genotype(child.levels, ())
    matches = match_cells(child, parent)
    assert len({match.child for match in matches}) == len({match.parent for match in matches}) == len(matches)
    for match in matches:
        ours = child.cells[live_cells(child)[match.child] - len(child.levels)]
        theirs = parent.cells[live_cells(parent)[match.parent] - len(parent.levels)]
        assert (ours.level, ours.merge, len(ours.inputs)) == (theirs.level, theirs.merge, len(theirs.inputs))
        inputs = match.operands[: len(ours.inputs)]
        assert sorted(inputs) == list(range(len(theirs.inputs)))


@given(st.integers(0, 10**6))
def test_a_mutant_keeps_all_cells_but_the_changed_one(seed):
    """One decision changes one cell, though cells may go with it or come back to life."""
    rng = random.Random(seed)
    parent = SPACE.ordered(known.bifpn())
    child = SPACE.mutate(parent, rng)
    matches = match_cells(child, parent)
    shared = min(len(live_cells(child)), len(live_cells(parent)))
    assert len(matches) >= shared - 2


def test_an_added_cell_leaves_the_others_their_partners():
    parent = known.bifpn()
    first = len(parent.levels)
    extra = MergeCell(5, (2, 3), "fast_normalized")
    moved = tuple(replace(cell, inputs=tuple(n + (n >= first) for n in cell.inputs)) for cell in parent.cells)
    last = replace(moved[-1], inputs=(*moved[-1].inputs[:-1], first))
    child = Genotype(parent.levels, (extra, *moved[:-1], last))
    matches = {match.child: match.parent for match in match_cells(child, parent)}
    assert matches == {at + 1: at for at in range(len(parent.cells))}


def test_cells_after_a_changed_one_keep_their_partners():
    parent = known.nas_fpn()
    cells = list(parent.cells)
    cells[0] = replace(cells[0], merge="sum" if cells[0].merge == "attention" else "attention")
    child = replace(parent, cells=tuple(cells))
    assert [(m.child, m.parent) for m in match_cells(child, parent)] == [(at, at) for at in range(1, len(cells))]


def test_a_cell_that_went_to_another_level_does_not_shift_those_of_its_level():
    """Three cells in a row at level 4; the middle one moves to level 5, and the last keeps its own partner."""
    cells = (MergeCell(4, (0, 1)), MergeCell(4, (1, 3)), MergeCell(4, (2, 4)), MergeCell(4, (0, 5)))
    parent = Genotype((3, 4, 5), cells)
    child = replace(parent, cells=(cells[0], replace(cells[1], level=5), *cells[2:]))
    assert {match.child: match.parent for match in match_cells(child, parent)} == {0: 0, 2: 2, 3: 3}


def test_operands_follow_their_inputs():
    parent = Genotype((3, 4, 5), (MergeCell(4, (0, 1, 2), "fast_normalized"), MergeCell(4, (0, 2, 3))))
    child = Genotype((3, 4, 5), (MergeCell(4, (2, 0, 1), "fast_normalized"), MergeCell(4, (1, 2, 3))))
    first, second = match_cells(child, parent)
    assert first.operands == (2, 0, 1)
    assert second.operands == (0, 1, 2)
