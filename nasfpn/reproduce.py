"""`nasfpn reproduce`: the published detectors and the published search, on COCO."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nas.commands.trainings import make_table
from nas.data.config import DataError
from nas.data.instances import read_instances
from nas.errors import UserError
from nas.terminal import console
from nasfpn.published import PUBLISHED, Published, built_cost, deviation

PAPERS = ("nas-fpn",)
SEARCH = "search"


@dataclass(frozen=True)
class Expected:
    """Expected contents of an annotation file of COCO 2017."""

    file: str
    folder: str
    images: int
    boxes: int


COCO = (
    Expected("annotations/instances_train2017.json", "train2017", 118_287, 860_001),
    Expected("annotations/instances_val2017.json", "val2017", 5_000, 36_781),
)
CATEGORIES = 80


def reproduce(
    paper: str, variant: str, coco: Path | None, run_dir: str | None, assignments: list[str], address: str | None
) -> None:
    if paper not in PAPERS:
        raise UserError(f"unknown paper {paper!r}; known: {', '.join(PAPERS)}")
    names = [entry.experiment for entry in PUBLISHED if entry.experiment] + [SEARCH]
    if variant not in names:
        raise UserError(f"unknown variant {variant!r}; known are {', '.join(names)}")
    if coco is None:
        print_table()
        _print_needs(variant)
        return
    check_coco(coco)
    assignments = [*assignments, f"data.root={coco}"]
    place = run_dir or f"runs/coco-{variant}"
    if variant == SEARCH:
        from nas.commands.search import search

        search(f"nasfpn.coco:{variant}", place, assignments, None, address, False)
        return
    from nas.commands.train import train

    train(f"nasfpn.coco:{variant}", Path(place), assignments, address, ["tensorboard"])


def print_table() -> None:
    """Print the published figures beside those of the detectors built here."""
    table = make_table(
        "Published and built: parameters (M), multiply-adds (G), AP on test-dev", *("detector", "px"), *_COLUMNS
    )
    for entry in PUBLISHED:
        table.add_row(entry.label, str(entry.size), *_figures(entry), f"{entry.ap:.1f}")
    console.print(table)


_COLUMNS = ("params", "built", "", "MACs", "built", "", "AP")


def _figures(entry: Published) -> tuple[str, ...]:
    cost = built_cost(entry)
    params, macs = cost.params / 1e6, cost.macs / 1e9
    return (
        f"{entry.params:g}",
        f"{params:.1f}",
        f"{100 * deviation(params, entry.params):+.1f} %",
        f"{entry.macs:g}",
        f"{macs:.1f}",
        f"{100 * deviation(macs, entry.macs):+.1f} %",
    )


def check_coco(root: Path) -> None:
    """
    Raises:
        DataError: if files are missing, or do not hold what COCO 2017 does.
    """
    missing = [name for entry in COCO for name in (entry.file, entry.folder) if not (root / name).exists()]
    if missing:
        raise DataError(f"{root} is not COCO 2017: {', '.join(missing)} missing; {_needed()}")
    for entry in COCO:
        content, _ = read_instances(root / entry.file)
        found = (len(content["images"]), len(content["annotations"]), len(content["categories"]))
        wanted = (entry.images, entry.boxes, CATEGORIES)
        if found != wanted:
            raise DataError(
                f"{root / entry.file} has {found[0]:,} images, {found[1]:,} annotations and {found[2]} categories; "
                f"COCO 2017 has {wanted[0]:,}, {wanted[1]:,} and {wanted[2]}. To train on other data: nasfpn train "
                "nasfpn.coco:nas_fpn --set data.root=DIR"
            )


def _print_needs(variant: str) -> None:
    console.print(
        f"To train it: nasfpn reproduce nas-fpn --variant {variant} --coco ROOT\nNothing is downloaded but ImageNet "
        f"weights of the backbone; {_needed()}\nThe recipe is the function {variant} of experiments/coco.py; any field "
        "can be set with --set, such as --set resources.processes=4 (GPUs).",
        soft_wrap=True,
    )


def _needed() -> str:
    parts = [f"{entry.file} ({entry.images:,} images, {entry.boxes:,} boxes) and {entry.folder}/" for entry in COCO]
    return f"ROOT has to hold COCO 2017 (cocodataset.org, 19 GB): {'; '.join(parts)}"
