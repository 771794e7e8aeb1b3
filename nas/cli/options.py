"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

ADDRESS = "Ray cluster to use, such as auto or HOST:6379; default: this machine."
Track = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME", help="Log to tensorboard, wandb, mlflow, or module:class; may be given several times."
    ),
]
TensorBoard = Annotated[bool, typer.Option("--tensorboard", help="The same as --track tensorboard.")]

Trials = Annotated[int | None, typer.Option(help="Candidates that the controller proposes.")]
ControllerName = Annotated[str | None, typer.Option(help="What proposes them: random, evolution, ppo, tpe, nsga2.")]
Workers = Annotated[int | None, typer.Option(help="Trials at once; default: what the machines allow.")]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Any field, such as proxy.steps=600.")
]
TrainAssignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Any field, such as batch_size=16.")
]
RunDir = Annotated[str, typer.Argument(metavar="RUN_DIR", help="Directory of a search, or its URL.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="A second line per trial: all APs, latency, what its cells compute.")
]


def tracked(names: list[str] | None, tensorboard: bool) -> tuple[str, ...]:
    """Trackers that the options name."""
    return (*(names or ()), *(("tensorboard",) if tensorboard else ()))
