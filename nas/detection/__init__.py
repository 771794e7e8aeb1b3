"""Detectors: backbones, necks and torchvision's heads put together, saved and loaded."""
