import math
import random

import numpy as np

from controllers.path_features import NO_PATH, path_features
from search_space import Genotype, MergeCell, known_genotype, pyramid_space

LEVELS = (3, 4)


def of(cells):
    """(outputs, inputs) of influence, log paths, convolutions and coarsest level."""
    rows = path_features(Genotype(LEVELS, tuple(cells)))[: 4 * len(LEVELS) ** 2]
    return rows.reshape(len(LEVELS), 4, len(LEVELS)).transpose(1, 0, 2)


def test_a_chain_of_two_cells_by_hand():
    """P4 gets P3 and P4; then P3 gets the new P4 and P3."""
    influence, paths, convs, coarsest = of([MergeCell(4, (0, 1), "sum", "conv"), MergeCell(3, (2, 0), "sum", "none")])
    assert influence.tolist() == [[0.75, 0.25], [0.5, 0.5]]
    np.testing.assert_allclose(paths, np.log1p([[2, 1], [1, 1]]))
    assert convs.tolist() == [[0, 1], [1, 1]]
    assert coarsest.tolist() == [[3, 4], [4, 4]]


def test_an_input_without_a_path_is_marked():
    influence, paths, convs, coarsest = of([])
    assert influence.tolist() == [[1, 0], [0, 1]]
    assert paths[0, 1] == 0
    assert (convs[0, 1], coarsest[0, 1]) == (NO_PATH, NO_PATH)


def test_equal_functions_have_equal_features():
    """The order of independent cells does not count, nor do cells that no output depends on."""
    first, second = MergeCell(6, (3, 4), "sum", "conv"), MergeCell(4, (0, 1), "sum", "conv")
    one, other = (Genotype((3, 4, 5, 6, 7), cells) for cells in ((first, second), (second, first)))
    assert one.fingerprint == other.fingerprint
    np.testing.assert_array_equal(path_features(one), path_features(other))


def test_every_neck_has_as_many_and_finite_ones():
    space, rng = pyramid_space(), random.Random(0)
    necks = [space.sample(rng) for _ in range(20)] + [known_genotype(name) for name in ("none", "nas_fpn", "quad_fpn")]
    rows = [path_features(neck) for neck in necks]
    assert len({row.shape for row in rows}) == 1
    assert all(math.isfinite(value) for row in rows for value in row)
