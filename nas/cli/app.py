"""The command `nasfpn`. Modules that import torch or Ray are imported by the commands that need them."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from typing import Annotated

import typer

from nas.cli import cluster, data, detectors, proxy, results, searches
from nas.cli.ending import Commands, ending
from nas.terminal import log_to_standard_error

app = typer.Typer(
    name="nasfpn",
    help="Neural architecture search for feature-pyramid necks.",
    cls=Commands,
    epilog="To begin with: nasfpn search experiments.signs:search --run-dir runs/signs",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Search": (searches.search, searches.extend, searches.retrain, searches.rerun, searches.submit),
    "Look and take along": (results.status, results.report, results.dashboard, results.describe, results.export),
    "Detectors": (detectors.train, detectors.evaluate, detectors.convert, detectors.reproduce),
}
GROUPS = {"data": data.app, "proxy": proxy.app, "cluster": cluster.app}

for panel, commands in PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
for name, group in GROUPS.items():
    app.add_typer(group, name=name, rich_help_panel="Before a search")


def main() -> None:
    """Entry point; how it ends, see `ending`."""
    log_to_standard_error()
    with ending():
        app()


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nas-fpn {importlib.metadata.version('nas-fpn')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Neural architecture search for feature-pyramid necks."""
