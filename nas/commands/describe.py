"""`nasfpn describe`: the cells of a neck and what it costs."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from nas.configuration import from_dict
from nas.detection.backbone import build_backbone
from nas.detection.config import BackboneConfig
from nas.detection.cost import detector_cost, feature_shapes, neck_cost
from nas.detection.detector import build_detector
from nas.errors import UserError
from necks import build_neck, known_genotype
from necks.exported import GENOTYPE_FILE
from search_space import KNOWN, Genotype

console = Console(highlight=False)


def describe_neck(neck: str, backbone_name: str, channels: int, repeats: int | None, size: int, classes: int) -> None:
    genotype = _genotype(neck)
    repeats = repeats or {"nas_fpn": 7, "bifpn": 3}.get(neck, 1)
    backbone = build_backbone(from_dict(BackboneConfig, {"name": backbone_name}))
    try:
        module = build_neck(genotype, in_channels=backbone.channels, out_channels=channels, repeats=repeats)
        detector = build_detector(backbone, module, classes, image_size=size)
    except ValueError as error:
        raise UserError(str(error)) from error
    console.print(_cell_table(genotype))
    alone = neck_cost(module, feature_shapes(backbone, (size, size)))
    whole = detector_cost(detector, (size, size))
    console.print(f"fingerprint {genotype.fingerprint}, {repeats} x {channels} channels, {size} x {size} px")
    for what, cost in (("neck alone", alone), (f"RetinaNet, {backbone_name}, {classes} classes", whole)):
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
    if path.is_dir():
        path = path / GENOTYPE_FILE
    if not path.is_file():
        raise UserError(f"{name!r} is neither a known neck ({', '.join(KNOWN)}) nor a genotype's JSON file")
    return Genotype.from_json(path.read_text())
