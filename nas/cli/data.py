"""`nasfpn data`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Make and check data sets in COCO format.", no_args_is_help=True)


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
