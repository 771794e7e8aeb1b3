"""Plan that a reader of public state dicts makes: how to build the detector, and where its tensors are."""

from __future__ import annotations

from dataclasses import dataclass

from nas.detection.config import BackboneConfig, HeadConfig
from nas.detection.conventions import ConventionName
from necks import Neck
from necks.reference.names import Sources

CHANNELS = {
    "resnet10": (128, 256, 512),
    "resnet18": (128, 256, 512),
    "resnet34": (128, 256, 512),
    "resnet50": (512, 1024, 2048),
    "resnet101": (512, 1024, 2048),
}
"""Channels of C3, C4 and C5."""


@dataclass(frozen=True)
class Plan:
    """
    Args:
        neck: with fresh weights.
        body_prefix, neck_prefix: how the names of the backbone's and the neck's tensors begin there.
        neck_source: one of `necks.reference.SOURCES`.
        head_sources: the head's tensors, by the names that they have in our detector.
    """

    backbone: BackboneConfig
    neck: Neck
    head: HeadConfig
    convention: ConventionName
    body_prefix: str
    neck_prefix: str
    neck_source: str
    head_sources: Sources
