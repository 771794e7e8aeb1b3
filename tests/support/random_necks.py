"""Merge graphs of any topology with any recipe."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import get_args, get_type_hints

from necks import MergeNeck, Recipe
from search_space import nas_fpn_space, pyramid_space
from tests.support.neck_cases import randomised

CHANNELS = (6, 8, 14)


def random_neck(seed):
    """Any topology of either space with any recipe."""
    rng = random.Random(seed)
    space = nas_fpn_space(rng.choice((5, 7, 9))) if rng.random() < 0.4 else pyramid_space()
    recipe = Recipe(norm_groups=2)
    for name, kind in get_type_hints(Recipe).items():
        choices = get_args(kind)
        if choices and isinstance(choices[0], str):
            recipe = replace(recipe, **{name: rng.choice(choices)})
        elif kind is bool or (choices and bool in choices):
            recipe = replace(recipe, **{name: rng.random() < 0.5})
    levels = (3, 4, 5, 6, 7, 8) if rng.random() < 0.3 else None
    if recipe.laterals == "edges":
        recipe = replace(recipe, laterals=rng.choice(("stem", "edges")))
    genotype, repeats = space.sample(rng), rng.choice((1, 2, 3))
    try:
        return randomised(MergeNeck(genotype, CHANNELS, (3, 4, 5), 8, repeats, recipe, levels))
    except ValueError:  # laterals on edges want a cell at every level
        return randomised(
            MergeNeck(genotype, CHANNELS, (3, 4, 5), 8, repeats, replace(recipe, laterals="stem"), levels)
        )
