"""What a genotype computes: torch modules that take a backbone's maps and give a pyramid."""

from necks.asff import AsffNeck
from necks.balanced import BalancedNeck
from necks.build import MODULE_NECKS, build_neck
from necks.contract import Neck
from necks.efm import ExactFusionNeck
from necks.exported import load_exported, save_exported
from necks.merge_neck import MergeNeck
from necks.recipe import Recipe

__all__ = [
    "MODULE_NECKS",
    "AsffNeck",
    "BalancedNeck",
    "ExactFusionNeck",
    "MergeNeck",
    "Neck",
    "Recipe",
    "build_neck",
    "load_exported",
    "save_exported",
]
