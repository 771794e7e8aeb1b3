import random
from itertools import chain

import pytest

from search_space import NasFpnSpace, PyramidSpace, nas_fpn_space, pyramid_space


def sequences(space, genotypes):
    """Every decision on the way to each genotype."""
    for genotype in genotypes:
        wanted, prefix, found = space.encode(genotype), {}, {}
        while (decision := space.next_decision(prefix)) is not None:
            found[decision.name] = decision.choices
            prefix[decision.name] = wanted[decision.name]
        yield found


@pytest.mark.parametrize(
    "space",
    [
        NasFpnSpace(3, levels=(3, 4)),
        PyramidSpace((3, 4), max_cells=2),
        PyramidSpace((3, 4), max_cells=2, merges=("attention",)),
        PyramidSpace((3, 4), min_cells=0, max_cells=2, merges=("sum",), every_level=False),
        PyramidSpace((3, 4), min_cells=2, max_cells=2, max_inputs=1, merges=("sum",)),
    ],
)
def test_the_decisions_are_those_of_all_sequences_and_none_marks_those_that_some_lack(space):
    every = list(sequences(space, space.enumerate()))
    names = {name for found in every for name in found}
    always = {name for name in names if all(name in found for found in every)}
    fixed = dict(chain.from_iterable(found.items() for found in every))
    assert space.decisions() == {name: fixed[name] + (() if name in always else (None,)) for name in names}


@pytest.mark.parametrize("space", [nas_fpn_space(), nas_fpn_space(15), pyramid_space()])
def test_large_spaces_ask_nothing_else(space):
    known, rng = space.decisions(), random.Random(7)
    for found in sequences(space, (space.sample(rng) for _ in range(50))):
        assert all(known[name] in (choices, (*choices, None)) for name, choices in found.items())
        assert {name for name, choices in known.items() if None not in choices} <= set(found)
