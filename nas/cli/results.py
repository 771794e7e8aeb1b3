"""`nasfpn status`, `report`, `dashboard`, `describe`, `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli.options import RunDir
from nas.errors import UserError


def status(run_dir: RunDir, as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False) -> None:
    """How far a search is and what is best so far; works while it runs."""
    from nas.commands.runs import show_status

    show_status(run_dir, as_json)


def report(run_dir: RunDir) -> None:
    """Write the report (HTML and pictures) of a search, finished or not."""
    from nas.commands.runs import make_report

    make_report(run_dir)


def dashboard(
    run_dir: RunDir,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8080,
) -> None:
    """Open a search in Optuna's dashboard (extra: dashboard); works while it runs."""
    from nas.commands.dashboard import dashboard as run

    run(run_dir, host, port)


def describe(
    neck: Annotated[
        str | None,
        typer.Argument(
            help="A known neck's name, a genotype's JSON file, an exported directory, RUN_DIR (the best found) or "
            "RUN_DIR:NUMBER (a trial)."
        ),
    ] = None,
    picture: Annotated[Path | None, typer.Option("--draw", metavar="FILE", help="Draw it: .svg, .png or .pdf.")] = None,
    other: Annotated[str | None, typer.Option("--compare", metavar="NECK", help="What differs from that one.")] = None,
    table: Annotated[bool, typer.Option("--table", help="Compare what all nine designs cost.")] = False,
    backbone: Annotated[
        str | None, typer.Option(help="Backbone of the detector; default: the search's, else resnet50.")
    ] = None,
    channels: Annotated[
        int | None, typer.Option(help="Channels of neck and head; default: the trial's, else 256.")
    ] = None,
    repeats: Annotated[
        int | None, typer.Option(help="Default: the search's, else 7 for nas_fpn, 3 for bifpn, 1 for others.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Side of the square image in pixels; default: the search's, else 640.")
    ] = None,
    classes: Annotated[
        int | None, typer.Option(help="Default: the search's, else 90, as the papers count COCO (its category ids).")
    ] = None,
) -> None:
    """Cells, parameters and multiply-adds of a neck, alone and in a RetinaNet; its picture; two necks side by side."""
    from nas.detection.without_compiler import defer_compiler

    defer_compiler()
    from nas.commands.describe import compare_necks, describe_all, describe_neck
    from nas.commands.neck_setting import Wishes

    wishes = Wishes(backbone, channels, repeats, size, classes)
    if table == (neck is not None):
        raise UserError("name one neck, or ask for the --table of all")
    if table and (picture is not None or other is not None):
        raise UserError("--table is of all designs; --draw and --compare want one neck")
    if table and repeats is not None:
        raise UserError("--table has the usual repeats of each design; leave --repeats out")
    if neck is None:
        describe_all(wishes)
        return
    if other is not None and picture is not None:
        raise UserError("--draw is for one neck; draw the two of --compare one by one")
    if other is None:
        describe_neck(neck, wishes, picture)
    else:
        compare_necks(neck, other, wishes)


def export(
    source: Annotated[
        str,
        typer.Argument(
            help="RUN_DIR of a search (the best found) or RUN_DIR:NUMBER (a trial), an exported neck, or a saved "
            "detector (nasfpn train)."
        ),
    ],
    output: Annotated[Path, typer.Option(help="Directory to write; new or empty.")],
    trial: Annotated[int | None, typer.Option(help="Number of a trial, as in RUN_DIR:NUMBER.")] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format", help="Also: python, onnx, onnx-nms, pt2, mmdet, torchvision, or all. May be repeated."
        ),
    ] = None,
    fold: Annotated[bool, typer.Option("--fold", help="Batch norms folded into convolutions in these.")] = False,
) -> None:
    """Write a trained neck or detector as plain files (JSON, safetensors, a model card) and in other formats."""
    from nas.commands.export import export_anything

    export_anything(source, output, trial, formats or [], fold=fold)
