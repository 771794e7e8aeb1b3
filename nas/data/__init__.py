"""Data sets in COCO's format: opening, checking, scoring; and the embedded data set, signs."""
