"""`nasfpn data`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Make, convert and check data sets in COCO format.", no_args_is_help=True)


@app.command("make")
def data_make(
    name: Annotated[str, typer.Argument(help="Name of the embedded data set: signs.")],
    root: Annotated[Path | None, typer.Option(help="Directory to write; default: data/NAME.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Set its size or seed, such as train=2000.")
    ] = None,
) -> None:
    """Write an embedded data set as PNG files and COCO annotations."""
    from nas.commands.data import make_data

    make_data(name, root or Path("data") / name, list(set_ or []))


@app.command("convert")
def data_convert(
    format_: Annotated[str, typer.Argument(metavar="FORMAT", help="Format of the data set: yolo or voc.")],
    source: Annotated[Path, typer.Argument(metavar="DIR", help="Directory of the data set, or YOLO's YAML file.")],
    output: Annotated[Path, typer.Option(help="Directory to write; new or empty.")],
) -> None:
    """Convert a YOLO or Pascal VOC data set to COCO format, and check it (extra: convert)."""
    from nas.commands.data import convert

    convert(format_, source, output)


@app.command("check")
def data_check(
    target: Annotated[
        str, typer.Argument(help="Directory of a data set, a run directory, or an experiment (module:function).")
    ],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Set where the splits are, such as train.images=train2017."),
    ] = None,
) -> None:
    """Open every image and annotation of a data set and list the faults; exit status 1 if there are errors."""
    from nas.commands.data import check

    check(target, list(set_ or []))
