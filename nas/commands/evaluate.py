"""`nasfpn evaluate`: AP of a saved detector, with tables, records and pictures."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.progress import Progress

from nas.commands.given_detector import given_detector, made
from nas.commands.trainings import make_table
from nas.credentials import without_credentials, without_credentials_in
from nas.data.coco import CocoSplit
from nas.data.evaluate import bare_results
from nas.data.image_files import Reading
from nas.environment import environment
from nas.evaluation.evaluate import (
    EvaluationError,
    ExitResult,
    Settings,
    choose_exits,
    evaluate,
    for_detector,
    open_split,
)
from nas.evaluation.pictures import ap_against_macs, detections_on_images
from nas.plain_json import dumps
from nas.runs.remote.files import is_url
from nas.terminal import console
from nas.text import NAME_LIMIT, plain

MEASURES = ("AP", "AP50", "AP75", "APs", "APm", "APl")
RESULTS_FILE = "results.json"


def evaluate_detector(
    model: str,
    annotations: Path,
    images: Path,
    *,
    out: Path | None,
    repeats: int | None,
    every_exit: bool,
    size: int | None,
    batch_size: int,
    resize: str,
    scorer: str,
    device: str,
    pictures: int,
    min_score: float,
    allow_outside: bool,
    reading: Reading,
) -> None:
    detector, spec = given_detector(model, device)
    settings = Settings(size=size or spec.image_size, batch_size=batch_size, resize=resize, scorer=scorer)
    exits = choose_exits(detector, repeats, every_exit)
    split, others = for_detector(open_split(annotations, images, allow_outside=allow_outside, reading=reading), spec)
    if others:
        names = ", ".join(f"{plain(name, NAME_LIMIT)!r} ({boxes} boxes)" for name, boxes in others.items())
        console.print(f"left out, since the detector does not know them: {names}", soft_wrap=True)
    out = made(_default_out(model) if out is None else out)
    start = time.monotonic()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("images", total=len(split))
        results = evaluate(detector, spec, split, settings, exits, lambda done: progress.advance(task, done))
    seconds = time.monotonic() - start
    _print(results, split)
    about = {"detector": without_credentials(model), "annotations": str(annotations), "images": str(images)}
    _write(out, split, results, {**about, "settings": vars(settings), "seconds": seconds})
    if len(results) > 1:
        ap_against_macs(results).savefig(out / "ap_against_macs.png", dpi=150)
    if pictures > 0:
        figure = detections_on_images(split, results[-1].found, pictures, min_score)
        figure.savefig(out / "detections.png", dpi=150)
    console.print(f"{len(split)} images in {seconds:.0f} s; everything is in {out}", soft_wrap=True)


def _default_out(model: str) -> Path:
    """
    Raises:
        EvaluationError: for a URL, which nothing is written to.
    """
    if is_url(model):
        raise EvaluationError("a detector at a URL needs --out: a directory for what is written")
    return Path(model) / "evaluation"


def _print(results: Sequence[ExitResult], split: CocoSplit) -> None:
    table = make_table(f"AP on {len(split)} images, in percent", "", *MEASURES, "MACs (G)", "params (M)")
    for result in results:
        table.add_row(
            "all repeats" if result.repeats is None else f"exit {result.repeats}",
            *(_number(result.metrics.get(name)) for name in MEASURES),
            f"{result.cost.macs / 1e9:.2f}",
            f"{result.cost.params / 1e6:.2f}",
        )
    console.print(table)
    table = make_table("AP of each class" + (", last exit" if len(results) > 1 else ""), "class", "AP", "boxes")
    for category, name in zip(split.category_ids, split.classes, strict=True):
        boxes = sum(not item.get("iscrowd", 0) for item in split.coco.anns.values() if item["category_id"] == category)
        table.add_row(plain(name, NAME_LIMIT), _number(results[-1].metrics.get(f"AP/{name}")), str(boxes))
    console.print(table)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _write(out: Path, split: CocoSplit, results: Sequence[ExitResult], about: dict[str, Any]) -> None:
    exits = [
        {"exit": one.repeats, "macs": one.cost.macs, "params": one.cost.params, "metrics": dict(one.metrics)}
        for one in results
    ]
    record = {"command": without_credentials_in(sys.argv), "environment": environment(), **about, "results": exits}
    (out / RESULTS_FILE).write_text(dumps(record, indent=2) + "\n")
    for one in results:
        name = "detections.json" if len(results) == 1 else f"detections_exit_{one.repeats}.json"
        (out / name).write_text(json.dumps(bare_results(split, one.found)) + "\n")
