"""`nasfpn status`, `report`, `dashboard`, `describe`, `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli.options import RunDir
from nas.errors import UserError


def status(
    run_dir: RunDir, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False
) -> None:
    """Show the progress of a search and its best necks so far; works while it runs."""
    from nas.commands.runs import show_status

    show_status(run_dir, as_json)


def report(run_dir: RunDir) -> None:
    """Write the report (HTML and pictures) of a search, finished or not."""
    from nas.commands.runs import make_report

    make_report(run_dir)


def dashboard(
    run_dir: RunDir,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 also serves other machines.")] = "127.0.0.1",
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
    picture: Annotated[
        Path | None, typer.Option("--draw", metavar="FILE", help="Draw the neck to a .svg, .png or .pdf file.")
    ] = None,
    other: Annotated[
        str | None, typer.Option("--compare", metavar="NECK", help="Show the differences from another neck.")
    ] = None,
    table: Annotated[bool, typer.Option("--table", help="Compare the costs of all nine designs.")] = False,
    backbone: Annotated[
        str | None, typer.Option(help="Backbone of the detector; default: the search's, or else resnet50.")
    ] = None,
    channels: Annotated[
        int | None, typer.Option(help="Channels of neck and head; default: the trial's, or else 256.")
    ] = None,
    repeats: Annotated[
        int | None,
        typer.Option(
            help="Repeats of the neck; default: the search's, or else 7 for nas_fpn, 3 for bifpn, 1 for others."
        ),
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Side of the square image in pixels; default: the search's, or else 640.")
    ] = None,
    classes: Annotated[
        int | None,
        typer.Option(help="Number of classes; default: the search's, or else 90, as the papers count COCO's ids."),
    ] = None,
) -> None:
    """Show the cells, parameters and multiply-adds of a neck, alone and in a RetinaNet; draw it; compare two necks."""
    from nas.detection.without_compiler import defer_compiler

    defer_compiler()
    from nas.commands.describe import compare_necks, describe_all, describe_neck
    from nas.commands.neck_setting import Wishes

    wishes = Wishes(backbone, channels, repeats, size, classes)
    if table == (neck is not None):
        raise UserError("give either the name of a neck or --table, not both")
    if table and (picture is not None or other is not None):
        raise UserError("--table shows all designs; --draw and --compare need the name of one neck instead")
    if table and repeats is not None:
        raise UserError("--table uses the usual repeats of each design; leave out --repeats")
    if neck is None:
        describe_all(wishes)
        return
    if other is not None and picture is not None:
        raise UserError("--draw takes one neck; leave out --compare, and draw each neck by itself")
    if other is None:
        describe_neck(neck, wishes, picture)
    else:
        compare_necks(neck, other, wishes)


def export(
    source: Annotated[
        str,
        typer.Argument(
            help="RUN_DIR (the best found neck of a search), RUN_DIR:NUMBER (a trial), an exported neck, or a saved "
            "detector (nasfpn train)."
        ),
    ],
    output: Annotated[Path, typer.Option(help="Directory to write; new or empty.")],
    trial: Annotated[int | None, typer.Option(help="Number of the trial, the same as RUN_DIR:NUMBER.")] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format", help="Further format: python, onnx, onnx-nms, pt2, mmdet, torchvision, or all; may be repeated."
        ),
    ] = None,
    fold: Annotated[bool, typer.Option("--fold", help="Fold batch norms into convolutions in these formats.")] = False,
) -> None:
    """Write a trained neck or detector as plain files (JSON, safetensors, a model card) and in other formats."""
    from nas.commands.export import export_anything

    export_anything(source, output, trial, formats or [], fold=fold)
