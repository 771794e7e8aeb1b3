"""The command `nasfpn`. Modules that import torch or Ray are imported by the commands that need them."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping
from typing import Annotated

import typer

from nas.cli import data, detectors, proxy, results, searches
from nas.cli.ending import Commands, ending
from nas.terminal import log_to_standard_error

PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Search": (searches.search, searches.extend, searches.retrain, searches.rerun, searches.submit),
    "Results": (results.status, results.report, results.dashboard, results.describe, results.export),
    "Detectors": (detectors.train, detectors.evaluate, detectors.predict, detectors.convert),
}
GROUPS = {"data": data.app, "proxy": proxy.app}


def command_line(
    panels: Mapping[str, tuple[Callable[..., None], ...]], groups: Mapping[str, typer.Typer], *, epilog: str = ""
) -> typer.Typer:
    """A command line of these subcommands.

    Args:
        panels: heading in the help -> subcommands.
        groups: name -> subcommands of that name, under a last heading.
        epilog: last line of the help.
    """
    made = typer.Typer(
        name="nasfpn",
        help="Neural architecture search for feature-pyramid necks.",
        cls=Commands,
        epilog=epilog or None,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    made.callback()(_options)
    for panel, commands in panels.items():
        for command in commands:
            made.command(rich_help_panel=panel)(command)
    for name, group in groups.items():
        made.add_typer(group, name=name, rich_help_panel="Before a search")
    return made


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nas-fpn {importlib.metadata.version('nas-fpn')}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Neural architecture search for feature-pyramid necks."""


def run(app: typer.Typer) -> None:
    """Run a command line with the arguments of this process. `ending` says how it ends."""
    log_to_standard_error()
    with ending():
        app()


def main() -> None:
    """Entry point of `python -m nas.cli`."""
    run(command_line(PANELS, GROUPS))
