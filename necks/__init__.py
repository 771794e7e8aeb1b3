"""Necks: torch modules that compute a genotype, from a backbone's maps to a pyramid."""

from necks.asff import AsffNeck
from necks.balanced import BalancedNeck
from necks.build import NECKS, build_neck
from necks.contract import Neck, PassThrough
from necks.efm import ExactFusionNeck
from necks.exported import load_exported, neck_from_dict, neck_to_dict, save_exported
from necks.merge_neck import MergeNeck
from necks.mlfpn import MlfpnNeck
from necks.recipe import Recipe
from necks.request import StackingError

__all__ = [
    "NECKS",
    "AsffNeck",
    "BalancedNeck",
    "ExactFusionNeck",
    "MergeNeck",
    "MlfpnNeck",
    "Neck",
    "PassThrough",
    "Recipe",
    "StackingError",
    "build_neck",
    "load_exported",
    "neck_from_dict",
    "neck_to_dict",
    "save_exported",
]
