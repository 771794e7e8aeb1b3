"""The detector around a neck that `nasfpn describe` counts: its search's, or RetinaNet with a ResNet-50."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from nas.commands.find_neck import Found
from nas.configuration import from_dict
from nas.detection.config import BackboneConfig, HeadConfig
from nas.errors import UserError
from nas.proxy.config import NeckConfig
from nas.search.config import SearchConfig
from search_space.files import is_there

BACKBONE, CHANNELS, SIZE, CLASSES = "resnet50", 256, 640, 90
"""Setting of a neck that belongs to no search; 90 is the papers' count of COCO's classes, by its category ids."""

USUAL_REPEATS = {"nas_fpn": 7, "bifpn": 3}


@dataclass(frozen=True)
class Wishes:
    """Detector settings given on the command line; None for those left open."""

    backbone: str | None = None
    channels: int | None = None
    repeats: int | None = None
    size: int | None = None
    classes: int | None = None


@dataclass(frozen=True)
class Setting:
    """
    Args:
        repeats: None for a neck that has no usual number of them.
        classes: None where only the data say how many there are, and they are not here.
        neck: how the search builds its necks; None for a neck of no search.
    """

    backbone: BackboneConfig
    head: HeadConfig
    channels: int
    repeats: int | None
    size: int
    classes: int | None
    neck: NeckConfig | None = None


def setting_of(found: Found, wishes: Wishes) -> Setting:
    """The wishes, and what they leave open as in the neck's search."""
    if found.config is None:
        return Setting(
            backbone=_backbone(wishes.backbone or BACKBONE),
            head=HeadConfig(),
            channels=wishes.channels or CHANNELS,
            repeats=wishes.repeats or _usual_repeats(found),
            size=wishes.size or SIZE,
            classes=wishes.classes or CLASSES,
        )
    proxy = found.config.proxy
    own_width = None if found.trial is None else found.trial.candidate.channels
    backbone = replace(proxy.backbone, weights="none")
    return Setting(
        backbone=backbone if wishes.backbone is None else _backbone(wishes.backbone),
        head=proxy.head,
        channels=wishes.channels or own_width or proxy.neck.channels,
        repeats=wishes.repeats or proxy.neck.repeats,
        size=wishes.size or proxy.image_size,
        classes=wishes.classes or _classes(found.config),
        neck=proxy.neck,
    )


def _backbone(name: str) -> BackboneConfig:
    return from_dict(BackboneConfig, {"name": name})


def _usual_repeats(found: Found) -> int | None:
    """Of a published neck; None for one that was found."""
    name = found.topology.partition("@")[0] if isinstance(found.topology, str) else ""
    return USUAL_REPEATS.get(name, 1 if name else None)


def _classes(config: SearchConfig) -> int | None:
    """Classes of the data, if they are here; nothing is made or unpacked."""
    data = config.data
    is_retinanet = config.task.is_proxy and config.proxy.detector == "retinanet"
    if data is None or not is_retinanet or not is_there(Path(data.root) / data.train.annotations):
        return None
    from nas.data.coco import open_splits

    try:
        return len(open_splits(data).train.classes)
    except UserError:
        return None
