"""COCO-format data: configurations, splits, scores, checks, and the embedded data set "signs"."""

from nas.data.check import check_data, check_split
from nas.data.coco import CocoSplit, Splits, Target, digest, open_splits
from nas.data.config import DataConfig, DataError, SignsConfig, SplitConfig
from nas.data.evaluate import Detections, coco_ap
from nas.data.picture import contact_sheet
from nas.data.problems import Problem
from nas.data.signs import make_signs

__all__ = [
    "DataConfig",
    "SplitConfig",
    "SignsConfig",
    "DataError",
    "CocoSplit",
    "Splits",
    "Target",
    "open_splits",
    "digest",
    "Detections",
    "coco_ap",
    "Problem",
    "check_data",
    "check_split",
    "make_signs",
    "contact_sheet",
]
