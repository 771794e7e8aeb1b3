"""The command `nasfpn`. Modules that import torch or Ray are imported by the commands that need them."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from nas.cli import cluster, data, detectors, proxy, results, searches
from nas.errors import UserError
from nas.terminal import SHOWN_LIMIT, log_to_standard_error, shown
from search_space import GenotypeError

app = typer.Typer(
    name="nasfpn",
    help="Neural architecture search for feature-pyramid necks.",
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
    """Entry point: what users can mend is one line on standard error and exit status 2."""
    log_to_standard_error()
    try:
        app()
    except (UserError, GenotypeError) as error:
        if os.environ.get("NASFPN_TRACEBACK"):
            raise
        typer.secho(shown(f"error: {error}", SHOWN_LIMIT), err=True, fg=typer.colors.RED)
        sys.exit(2)


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
