import pytest

from search_space import KNOWN, Genotype, known

BIFPN = [
    (6, (3, 4)),
    (5, (2, 5)),
    (4, (1, 6)),
    (3, (0, 7)),
    (4, (1, 7, 8)),
    (5, (2, 6, 9)),
    (6, (3, 5, 10)),
    (7, (4, 11)),
]
NAS_FPN = [
    (4, "attention", (1, 3)),
    (4, "sum", (1, 5)),
    (3, "sum", (0, 6)),
    (4, "sum", (6, 7)),
    (5, "attention", (7, 8)),
    (7, "attention", (6, 9)),
    (6, "attention", (9, 10)),
]
"""Level, operation and offsets of google's NASFPN_BLOCK_SPECS (facts/nas_fpn.md section 2)."""


@pytest.mark.parametrize("name", KNOWN)
def test_known_necks_give_every_level_of_p3_to_p7(name):
    genotype = KNOWN[name]()
    assert list(genotype.outputs) == [3, 4, 5, 6, 7]
    assert Genotype.from_json(genotype.to_json()) == genotype
    assert set(genotype.outputs.values()) <= genotype.live_nodes
    assert set(range(5, genotype.num_nodes)) <= genotype.live_nodes


@pytest.mark.parametrize("name", sorted(set(KNOWN) - {"nas_fpn"}))
@pytest.mark.parametrize("levels", [(3, 4), (2, 3, 4, 5), (3, 4, 5, 6, 7, 8)])
def test_hand_made_necks_exist_over_any_levels(name, levels):
    assert list(KNOWN[name](levels).outputs) == list(levels)


def test_bifpn_has_the_nodes_of_efficientdet():
    genotype = known.bifpn()
    assert [(cell.level, cell.inputs) for cell in genotype.cells] == BIFPN
    assert {(cell.merge, cell.transform) for cell in genotype.cells} == {("fast_normalized", "conv")}
    assert list(genotype.outputs.values()) == [8, 9, 10, 11, 12]
    assert not genotype.merge_dangling
    assert sum(len(cell.inputs) for cell in genotype.cells) == 19


def test_nas_fpn_has_the_cells_of_google():
    genotype = known.nas_fpn()
    assert [(cell.level, cell.merge, cell.inputs) for cell in genotype.cells] == NAS_FPN
    assert {cell.transform for cell in genotype.cells} == {"conv"}


def test_nas_fpn_adds_the_inputs_p5_and_p7():
    genotype = known.nas_fpn()
    assert genotype.merge_dangling
    assert genotype.dangling == ((), (), (), (), (2,), (4,), ())
    assert [genotype.levels[node] for added in genotype.dangling for node in added] == [5, 7]


def test_nas_fpn_builds_its_outputs_in_the_published_order():
    genotype = known.nas_fpn()
    order = sorted(genotype.outputs, key=lambda level: genotype.outputs[level])
    assert order == [3, 4, 5, 7, 6]
    assert genotype.outputs == {3: 7, 4: 8, 5: 9, 6: 11, 7: 10}


def test_none_passes_the_inputs_on():
    assert known.none().cells == ()
    assert known.none().outputs == {3: 0, 4: 1, 5: 2, 6: 3, 7: 4}


def test_same_level_connects_no_levels():
    assert [(cell.level, cell.inputs) for cell in known.same_level().cells] == [(3 + k, (k,)) for k in range(5)]


def depends_on(genotype, node):
    """Input levels that a node is computed from."""
    first = len(genotype.levels)
    if node < first:
        return {genotype.levels[node]}
    return set().union(*(depends_on(genotype, source) for source in genotype.cells[node - first].inputs))


def test_fpn_flows_from_coarse_to_fine_only():
    genotype = known.fpn()
    for level, node in genotype.outputs.items():
        assert depends_on(genotype, node) == set(range(level, 8))
    assert sum(cell.transform == "conv" for cell in genotype.cells) == 5


@pytest.mark.parametrize("name", ["pafpn", "bifpn"])
def test_two_way_necks_bring_every_level_to_every_other(name):
    genotype = KNOWN[name]()
    assert all(depends_on(genotype, node) == {3, 4, 5, 6, 7} for node in genotype.outputs.values())


def test_pafpn_sums_before_it_convolves():
    genotype = known.pafpn()
    convolved = {index + 5 for index, cell in enumerate(genotype.cells) if cell.transform == "conv"}
    bottom_up = [cell for cell in genotype.cells[9:] if cell.transform == "none"]
    assert [cell.level for cell in bottom_up] == [4, 5, 6, 7]
    assert set(genotype.outputs.values()) <= convolved
    assert all(len(cell.inputs) == 2 for cell in bottom_up)


def test_panets_chain_passes_the_convolved_map_and_pafpns_the_sum() -> None:
    """facts: two graphs that agree on the finest level and the one above, and differ beyond."""
    ours, mmdetections = known.panet((3, 4, 5)), known.pafpn((3, 4, 5))
    assert [(cell.level, cell.inputs, cell.transform) for cell in ours.cells[5:]] == [
        (4, (6, 5), "conv"),
        (5, (7, 8), "conv"),
    ]
    assert ours.fingerprint != mmdetections.fingerprint
    assert ours.outputs == {3: 5, 4: 8, 5: 9}
