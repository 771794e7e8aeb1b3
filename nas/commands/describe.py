"""`nasfpn describe`: the cells of a neck and what it costs."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from nas.configuration import from_dict
from nas.detection.backbone import build_backbone
from nas.detection.config import BackboneConfig
from nas.detection.cost import Cost, detector_cost, feature_shapes, latency_ms, neck_cost
from nas.detection.detector import build_detector
from nas.errors import UserError
from necks import NECKS, MergeNeck, Neck, build_neck, load_exported
from necks.exported import NECK_FILE
from search_space import DEFAULT_LEVELS, Genotype

console = Console(highlight=False)


USUAL_REPEATS = {"nas_fpn": 7, "bifpn": 3}

TABLE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("fpn@torchvision", {"extra": "p6p7_p5"}),
    ("panet@authors", {"out_levels": DEFAULT_LEVELS}),
    ("pafpn@mmdet", {"extra": "p6p7_p5"}),
    ("nas_fpn@tf", {"repeats": 7}),
    ("bifpn@effdet", {"repeats": 3}),
    ("balanced_fpn", {}),
    ("mlfpn", {}),
    ("asff", {}),
    ("efm", {}),
)
"""The nine designs over P3..P7, after a public implementation where it has these levels."""


def describe_neck(neck: str, backbone_name: str, channels: int, repeats: int | None, size: int, classes: int) -> None:
    """Print cells and cost; an exported directory is described as it was exported, without a detector."""
    if (Path(neck) / NECK_FILE).is_file():
        _describe_exported(load_exported(neck), size)
        return
    what = neck if neck in NECKS else _genotype(neck)
    repeats = repeats or USUAL_REPEATS.get(neck.partition("@")[0], 1)
    backbone = build_backbone(from_dict(BackboneConfig, {"name": backbone_name}))
    try:
        module = build_neck(what, in_channels=backbone.channels, out_channels=channels, repeats=repeats)
        alone = neck_cost(module, feature_shapes(backbone, (size, size)))
        detector = build_detector(backbone, module, classes, image_size=size)
    except ValueError as error:
        raise UserError(f"{neck} with {backbone_name} at {size} px: {error}") from error
    if isinstance(module, MergeNeck):
        _print_neck(module, size)
    _print_cost("neck alone", alone)
    _print_cost(f"RetinaNet, {backbone_name}, {classes} classes", detector_cost(detector, (size, size)))


def describe_all(backbone_name: str, channels: int, size: int) -> None:
    """Print what each of the nine designs costs on this machine's CPU, without the detector around it."""
    backbone = build_backbone(from_dict(BackboneConfig, {"name": backbone_name}))
    shapes = feature_shapes(backbone, (size, size))
    table = Table(title=f"{backbone_name}, {channels} channels, P3..P7, {size} x {size} px, batch 1, fp32")
    table.add_column("neck")
    for name in ("M parameters", "G multiply-adds", "CPU ms"):
        table.add_column(name, justify="right")
    for name, options in TABLE:
        try:
            neck = build_neck(name, in_channels=backbone.channels, out_channels=channels, **options)
        except ValueError as error:
            raise UserError(f"{name}: {error}") from error
        cost = neck_cost(neck, shapes)
        milliseconds = latency_ms(neck, shapes, torch.device("cpu"))
        shown = ", ".join((name, *(f"{key}={value}" for key, value in options.items() if key != "out_levels")))
        table.add_row(shown, f"{cost.params / 1e6:.2f}", f"{cost.macs / 1e9:.2f}", f"{milliseconds:.0f}")
    console.print(table)


def _describe_exported(neck: Neck, size: int) -> None:
    if isinstance(neck, MergeNeck):
        _print_neck(neck, size)
    sides = [-(-size // 2**level) for level in neck.in_levels]
    shapes: OrderedDict[str, tuple[int, ...]] = OrderedDict(
        (f"c{level}", (channels, side, side))
        for level, channels, side in zip(neck.in_levels, neck.in_channels, sides, strict=True)
    )
    _print_cost(f"neck alone, on maps with {neck.in_channels} channels", neck_cost(neck, shapes))


def _print_neck(neck: MergeNeck, size: int) -> None:
    console.print(_cell_table(neck.genotype))
    console.print(
        f"fingerprint {neck.genotype.fingerprint}, {neck.repeats} x {neck.out_channels} channels, {size} x {size} px"
    )


def _print_cost(what: str, cost: Cost) -> None:
    console.print(f"{what}: {cost.params / 1e6:.2f} M parameters, {cost.macs / 1e9:.2f} G multiply-adds")


def _cell_table(genotype: Genotype) -> Table:
    table = Table(title=f"inputs: nodes 0..{len(genotype.levels) - 1} = P{genotype.levels[0]}..P{genotype.levels[-1]}")
    for name in ("node", "level", "merge", "of nodes", "dangling adds", "transform", "output"):
        table.add_column(name)
    first = len(genotype.levels)
    for index, entry in enumerate(genotype.cells):
        table.add_row(
            str(first + index),
            f"P{entry.level}",
            entry.merge,
            " ".join(map(str, entry.inputs)),
            " ".join(map(str, genotype.dangling[index])),
            entry.transform,
            "yes" if genotype.outputs[entry.level] == first + index else "",
        )
    return table


def _genotype(name: str) -> Genotype:
    path = Path(name)
    if not path.is_file():
        raise UserError(
            f"{name!r} is neither a known neck ({', '.join(NECKS)}) nor a genotype's JSON file nor an exported neck"
        )
    return Genotype.from_json(path.read_text())
