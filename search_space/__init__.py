"""What can be built: genotypes, search spaces over them, and the published topologies. Pure Python."""

from search_space import known
from search_space.genotype import Genotype, GenotypeError, MergeCell
from search_space.known import KNOWN
from search_space.nas_fpn import NasFpnSpace, nas_fpn_space
from search_space.space import Choice, Choices, Decision, SearchSpace

__all__ = [
    "KNOWN",
    "Choice",
    "Choices",
    "Decision",
    "Genotype",
    "GenotypeError",
    "MergeCell",
    "NasFpnSpace",
    "SearchSpace",
    "known",
    "nas_fpn_space",
]
