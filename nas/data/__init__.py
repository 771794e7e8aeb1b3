"""Data in COCO format: configurations, splits, scores, checks, and the embedded data set "signs"."""
