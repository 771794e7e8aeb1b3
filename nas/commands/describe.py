"""`nasfpn describe`: the cells of a neck, what it costs, its picture, and how it differs from another."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.box import SIMPLE_HEAD
from rich.table import Table

from nas.commands.find_neck import Found, find_neck
from nas.commands.neck_setting import BACKBONE, CHANNELS, SIZE, Setting, Wishes, setting_of
from nas.configuration import from_dict
from nas.detection.backbone import Backbone, build_backbone
from nas.detection.config import BackboneConfig
from nas.detection.cost import Cost, detector_cost, feature_shapes, latency_ms, neck_cost
from nas.detection.detector import build_detector
from nas.errors import UserError, first_line
from nas.proxy.candidate import candidate_neck
from nas.results.compare import outline, side_by_side
from nas.search.config import SearchConfig, data_of
from nas.terminal import console
from necks import MergeNeck, Neck, build_neck
from search_space import DEFAULT_LEVELS, Genotype

PICTURES = (".svg", ".png", ".pdf")
PICTURE_DPI = 150

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


@dataclass(frozen=True)
class Described:
    """A neck, and what it costs alone and in a RetinaNet.

    Args:
        detector: None for an exported neck, and for a search's whose number of classes is not known.
    """

    label: str
    neck: Neck
    setting: Setting
    alone: Cost
    detector: Cost | None

    @property
    def genotype(self) -> Genotype:
        """
        Raises:
            UserError: if it is no merge graph.
        """
        if not isinstance(self.neck, MergeNeck):
            raise UserError(f"{self.label} is not made of merge cells: it cannot be drawn or compared cell by cell")
        return self.neck.genotype


def describe_neck(name: str, wishes: Wishes, picture: Path | None) -> None:
    """Print cells and cost, and draw the graph.

    Args:
        picture: file to draw it to; None for none.

    Raises:
        UserError: for an unknown neck, another kind of picture, or one of a neck that is no graph of merge cells.
    """
    if picture is not None and picture.suffix.lower() not in PICTURES:
        raise UserError(f"{picture} is not a supported kind of picture; end its name with {', '.join(PICTURES)}")
    named = find_neck(name)
    found = _described(named, setting_of(named, wishes))
    setting = found.setting
    if found.label != name:
        console.print(found.label, soft_wrap=True)
    if isinstance(found.neck, MergeNeck):
        console.print(_cell_table(found.genotype))
        _print_setting(found.neck, setting)
    maps = f", on maps with {found.neck.in_channels} channels" if named.exported is not None else ""
    _print_cost(f"neck alone{maps}", found.alone)
    if found.detector is not None:
        _print_cost(f"RetinaNet, {setting.backbone.name}, {setting.classes} classes", found.detector)
    elif named.config is not None:
        line = f"RetinaNet: not counted, as {_without_classes(named.config)}; give --classes"
        console.print(line, soft_wrap=True)
    if picture is not None:
        _draw(found.genotype, picture)


def _without_classes(config: SearchConfig) -> str:
    if not config.task.is_proxy:
        return f"the search trains with a task of its own, {config.task.name}"
    if config.proxy.detector != "retinanet":
        return f"the search is one of {config.proxy.detector}"
    return f"the search's data are not in {data_of(config).root}"


def compare_necks(first: str, second: str, wishes: Wishes) -> None:
    """Print what differs: cost, outline, and cells side by side.

    A neck without usual repeats is built with those of the other, and beside a search's neck any neck as that search
    builds its own, so that what differs in cost is the cells'.
    """
    found = [find_neck(name) for name in (first, second)]
    search = next((each.config for each in found if each.config is not None), None)
    settings = [setting_of(replace(each, config=each.config or search), wishes) for each in found]
    repeats = [_repeats(each, setting) for each, setting in zip(found, settings, strict=True)]
    both = [
        _described(each, replace(setting, repeats=own or other))
        for each, setting, own, other in zip(found, settings, repeats, repeats[::-1], strict=True)
    ]
    genotypes = [entry.genotype for entry in both]
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for title in ("", *(entry.label for entry in both)):
        table.add_column(title)
    facts = [{**outline(entry.genotype), "built as": _built_as(entry.neck), **_costs(entry)} for entry in both]
    for key in facts[0]:
        left, right = (fact.get(key, "-") for fact in facts)
        table.add_row(key, left, right)
    table.add_section()
    for pair in side_by_side(*genotypes):
        table.add_row("differs" if pair.differs else "", pair.first, pair.second)
    console.print(table)
    if genotypes[0].fingerprint == genotypes[1].fingerprint:
        console.print("both compute the same function")


def describe_all(wishes: Wishes) -> None:
    """Print what each of the nine designs costs on this machine's CPU, without the detector around it."""
    backbone_name, channels, size = wishes.backbone or BACKBONE, wishes.channels or CHANNELS, wishes.size or SIZE
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


def _draw(genotype: Genotype, picture: Path) -> None:
    from nas.drawing.architecture import architecture

    options: dict[str, Any] = {"metadata": {"Date": None}} if picture.suffix.lower() == ".svg" else {}
    try:
        architecture(genotype).savefig(picture, dpi=PICTURE_DPI, **options)
    except OSError as error:
        raise UserError(f"{picture} cannot be written: {error.strerror}") from error
    console.print(f"drawn: {picture}", soft_wrap=True)


def _described(found: Found, setting: Setting) -> Described:
    if found.exported is not None:
        return Described(found.label, found.exported, setting, _cost_of_exported(found.exported, setting.size), None)
    side = setting.size
    backbone = build_backbone(setting.backbone)
    try:
        neck = _built(found, setting, backbone)
        alone = neck_cost(neck, feature_shapes(backbone, (side, side)))
        if setting.classes is None:
            return Described(found.label, neck, setting, alone, None)
        detector = build_detector(backbone, neck, setting.classes, setting.head, side)
    except ValueError as error:
        raise UserError(f"{found.label} with {setting.backbone.name} at {side} px: {error}") from error
    return Described(found.label, neck, setting, alone, detector_cost(detector, (side, side)))


def _built(found: Found, setting: Setting, backbone: Backbone) -> Neck:
    assert found.topology is not None
    repeats = setting.repeats or 1
    if setting.neck is not None and isinstance(found.topology, Genotype):
        config = replace(setting.neck, channels=setting.channels, repeats=repeats)
        return candidate_neck(found.topology, backbone.channels, backbone.levels, config)
    return build_neck(found.topology, in_channels=backbone.channels, out_channels=setting.channels, repeats=repeats)


def _repeats(found: Found, setting: Setting) -> int | None:
    return found.exported.repeats if isinstance(found.exported, MergeNeck) else setting.repeats


def _built_as(neck: Neck) -> str:
    return f"{neck.repeats} x {neck.out_channels} channels" if isinstance(neck, MergeNeck) else ""


def _cost_of_exported(neck: Neck, size: int) -> Cost:
    sides = [-(-size // 2**level) for level in neck.in_levels]
    shapes: OrderedDict[str, tuple[int, ...]] = OrderedDict(
        (f"c{level}", (channels, side, side))
        for level, channels, side in zip(neck.in_levels, neck.in_channels, sides, strict=True)
    )
    try:
        return neck_cost(neck, shapes)
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"this neck cannot compute maps of {size} px: {first_line(error)}; give another --size"
        ) from error


def _costs(entry: Described) -> dict[str, str]:
    costs = {"neck alone": _in_words(entry.alone)}
    return costs if entry.detector is None else {**costs, "in a RetinaNet": _in_words(entry.detector)}


def _print_setting(neck: MergeNeck, setting: Setting) -> None:
    fingerprint, size = neck.genotype.fingerprint, setting.size
    console.print(f"fingerprint {fingerprint}, {_built_as(neck)}, {size} x {size} px")


def _print_cost(what: str, cost: Cost) -> None:
    console.print(f"{what}: {_in_words(cost)}")


def _in_words(cost: Cost) -> str:
    return f"{cost.params / 1e6:.2f} M parameters, {cost.macs / 1e9:.2f} G multiply-adds"


def _cell_table(genotype: Genotype) -> Table:
    title = f"inputs: nodes 0..{len(genotype.levels) - 1} = P{genotype.levels[0]}..P{genotype.levels[-1]}"
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("node", "level", "merge", "of nodes", "dangling adds", "transform", "output"):
        table.add_column(name)
    first = len(genotype.levels)
    for index, entry in enumerate(genotype.cells):
        table.add_row(
            str(first + index),
            f"P{entry.level}",
            entry.merge.rpartition(":")[2],
            " ".join(map(str, entry.inputs)),
            " ".join(map(str, genotype.dangling[index])),
            entry.transform,
            "yes" if genotype.outputs[entry.level] == first + index else "",
        )
    return table
