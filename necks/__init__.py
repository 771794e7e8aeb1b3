"""What a genotype computes: torch modules that take a backbone's maps and give a pyramid."""

from necks.build import build_neck, known_genotype
from necks.exported import load_exported, save_exported
from necks.merge_neck import MergeNeck
from necks.recipe import Recipe

__all__ = ["MergeNeck", "Recipe", "build_neck", "known_genotype", "load_exported", "save_exported"]
