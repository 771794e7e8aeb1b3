"""Genotypes, search spaces over them, and the published topologies. Pure Python."""

from search_space import known
from search_space.bounds import (
    MAX_CELLS,
    MAX_CHANNELS,
    MAX_INPUTS,
    MAX_LEVEL,
    MAX_REPEATS,
    MAX_SPACE_CELLS,
    GenotypeError,
)
from search_space.cost import Cost, genotype_cost, level_sizes
from search_space.genotype import Genotype, MergeCell
from search_space.known import DEFAULT_LEVELS, KNOWN, known_genotype
from search_space.matching import CellMatch, match_cells
from search_space.nas_fpn import NasFpnSpace, nas_fpn_space
from search_space.pyramid import PyramidSpace, pyramid_space
from search_space.space import Choice, Choices, Decision, SearchSpace

__all__ = [
    "DEFAULT_LEVELS",
    "KNOWN",
    "MAX_CELLS",
    "MAX_CHANNELS",
    "MAX_INPUTS",
    "MAX_LEVEL",
    "MAX_REPEATS",
    "MAX_SPACE_CELLS",
    "CellMatch",
    "Choice",
    "Choices",
    "Cost",
    "Decision",
    "Genotype",
    "GenotypeError",
    "MergeCell",
    "NasFpnSpace",
    "PyramidSpace",
    "SearchSpace",
    "genotype_cost",
    "known",
    "known_genotype",
    "level_sizes",
    "match_cells",
    "nas_fpn_space",
    "pyramid_space",
]
