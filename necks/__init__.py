"""What a genotype computes: torch modules that take a backbone's maps and give a pyramid."""

from necks.build import build_neck
from necks.exported import load_exported, save_exported
from necks.merge_neck import MergeNeck
from necks.recipe import Recipe

__all__ = ["MergeNeck", "Recipe", "build_neck", "load_exported", "save_exported"]
