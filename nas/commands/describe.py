"""`nasfpn describe`: the cells of a neck and what it costs."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from nas.configuration import from_dict
from nas.detection.backbone import build_backbone
from nas.detection.config import BackboneConfig
from nas.detection.cost import Cost, detector_cost, feature_shapes, neck_cost
from nas.detection.detector import build_detector
from nas.errors import UserError
from necks import MODULE_NECKS, MergeNeck, build_neck, load_exported
from necks.exported import NECK_FILE
from search_space import KNOWN, Genotype, known_genotype

console = Console(highlight=False)


def describe_neck(neck: str, backbone_name: str, channels: int, repeats: int | None, size: int, classes: int) -> None:
    """Print cells and cost; an exported directory is described as it was exported, without a detector."""
    if (Path(neck) / NECK_FILE).is_file():
        _describe_exported(load_exported(neck), size)
        return
    what = neck if neck in MODULE_NECKS else _genotype(neck)
    repeats = repeats or {"nas_fpn": 7, "bifpn": 3}.get(neck, 1)
    backbone = build_backbone(from_dict(BackboneConfig, {"name": backbone_name}))
    try:
        module = build_neck(what, in_channels=backbone.channels, out_channels=channels, repeats=repeats)
        detector = build_detector(backbone, module, classes, image_size=size)
    except ValueError as error:
        raise UserError(str(error)) from error
    if isinstance(module, MergeNeck):
        _print_neck(module, size)
    _print_cost("neck alone", neck_cost(module, feature_shapes(backbone, (size, size))))
    _print_cost(f"RetinaNet, {backbone_name}, {classes} classes", detector_cost(detector, (size, size)))


def _describe_exported(neck: MergeNeck, size: int) -> None:
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
    if name in KNOWN:
        return known_genotype(name)
    path = Path(name)
    if not path.is_file():
        names = ", ".join((*KNOWN, *MODULE_NECKS))
        raise UserError(f"{name!r} is neither a known neck ({names}) nor a genotype's JSON file nor an exported neck")
    return Genotype.from_json(path.read_text())
