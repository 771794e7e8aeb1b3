"""`nasfpn proxy`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli.options import ADDRESS, Assignments

app = typer.Typer(help="Measure how well the proxy task ranks necks, and how short it may be.", no_args_is_help=True)

Experiment = Annotated[str, typer.Argument(help="module:function or file.py:function that returns a SearchConfig.")]
Out = Annotated[Path, typer.Option(help="Directory for the results; given again, the command continues there.")]
Necks = Annotated[
    int, typer.Option(help="Number of necks to rank: all known necks, then random ones from the search space.")
]
Seeds = Annotated[int, typer.Option(help="Proxy trainings of each neck.")]
LongSeeds = Annotated[int, typer.Option(help="Long trainings of each neck.")]
Longer = Annotated[float, typer.Option(help="Length of the long training, as a multiple of the proxy task's.")]
Address = Annotated[str | None, typer.Option(help=ADDRESS)]


@app.command()
def check(
    experiment: Experiment,
    out: Out,
    necks: Necks = 17,
    seeds: Seeds = 2,
    long_seeds: LongSeeds = 2,
    longer: Longer = 10,
    set_: Assignments = None,
    address: Address = None,
) -> None:
    """Measure the noise and time of a proxy task, and how well it ranks necks compared with a long training."""
    from nas.commands.proxy import Effort, check_proxy

    check_proxy(experiment, out, set_ or [], Effort(necks, seeds, long_seeds, longer), address)


@app.command()
def choose(
    experiment: Experiment,
    out: Out,
    vary: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=VALUE,VALUE", help="Settings to try, in all combinations; default: fewer steps."),
    ] = None,
    necks: Necks = 17,
    seeds: Seeds = 2,
    long_seeds: LongSeeds = 2,
    longer: Longer = 10,
    set_: Assignments = None,
    address: Address = None,
) -> None:
    """Try cheaper settings of a proxy task; recommend the cheapest one that ranks necks like the long training."""
    from nas.commands.proxy import Effort, choose_proxy

    choose_proxy(experiment, out, set_ or [], vary or [], Effort(necks, seeds, long_seeds, longer), address)
