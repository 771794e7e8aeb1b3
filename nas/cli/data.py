"""`nasfpn data`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Make, convert and check data sets in COCO format.", no_args_is_help=True)


@app.command("make")
def data_make(
    name: Annotated[str, typer.Argument(help="An embedded data set: signs.")],
    root: Annotated[Path | None, typer.Option(help="Where to write it; default data/NAME.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Its size and seed, such as train=2000.")
    ] = None,
) -> None:
    """Write an embedded data set as PNG files and COCO annotations."""
    from nas.commands.data import make_data

    make_data(name, root or Path("data") / name, list(set_ or []))


@app.command("convert")
def data_convert(
    format_: Annotated[str, typer.Argument(metavar="FORMAT", help="yolo or voc.")],
    source: Annotated[Path, typer.Argument(metavar="DIR", help="The data set, or YOLO's YAML file.")],
    output: Annotated[Path, typer.Option(help="Directory to write; new or empty.")],
) -> None:
    """Write a data set for YOLO or of Pascal VOC in COCO format, and check it (extra: convert)."""
    from nas.commands.data import convert

    convert(format_, source, output)


@app.command("check")
def data_check(
    target: Annotated[str, typer.Argument(help="A data set's directory, a run directory, or module:function.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Where the splits are, such as train.images=train2017."),
    ] = None,
) -> None:
    """Open every image and annotation of a data set and list what is wrong; exit status 1 if there are errors."""
    from nas.commands.data import check

    check(target, list(set_ or []))
