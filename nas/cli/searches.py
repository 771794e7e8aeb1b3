"""`nasfpn search`, `extend`, `rerun`, `retrain` and `submit`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from nas.cli.options import (
    ADDRESS,
    Assignments,
    ControllerName,
    GpuHours,
    Hours,
    RunDir,
    TensorBoard,
    Track,
    Trials,
    Until,
    Verbose,
    Workers,
    budgeted,
    tracked,
)


def search(
    experiment: Annotated[str, typer.Argument(help="module:function or file.py:function that returns a SearchConfig.")],
    run_dir: Annotated[
        str,
        typer.Option(metavar="DIR|URL", help="Directory that the search writes to; given again, the search continues."),
    ],
    trials: Trials = None,
    controller: ControllerName = None,
    workers: Workers = None,
    set_: Assignments = None,
    address: Annotated[str | None, typer.Option(help=ADDRESS)] = None,
    hours: Hours = None,
    gpu_hours: GpuHours = None,
    until: Until = None,
    resume: Annotated[bool, typer.Option("--resume", help="Refuse to begin a new search.")] = False,
    track: Track = None,
    tensorboard: TensorBoard = False,
    verbose: Verbose = False,
) -> None:
    """Search for a neck: score known necks, a random baseline and candidates; export the best, write a report."""
    from nas.commands.search import search as run

    trials, budget = budgeted(trials, hours, gpu_hours, until)
    fields = {"trials": trials, "resources.workers": workers}
    given = [f"{name}={value}" for name, value in fields.items() if value is not None]
    assignments = [*(set_ or []), *given, *budget]
    run(experiment, run_dir, assignments, controller, address, resume, tracked(track, tensorboard), verbose)


def extend(
    run_dir: RunDir,
    trials: Annotated[
        str, typer.Option(metavar="+N", help="Number of further candidates, or N without + for the total.")
    ],
    workers: Annotated[int | None, typer.Option(help="Trials at once; default: as before.")] = None,
    address: Annotated[str | None, typer.Option(help=ADDRESS)] = None,
    track: Track = None,
    tensorboard: TensorBoard = False,
    verbose: Verbose = False,
) -> None:
    """Continue a finished or interrupted search with its own configuration."""
    from nas.commands.search import extend as run

    run(run_dir, trials, workers, address, tracked(track, tensorboard), verbose)


def rerun(
    name: Annotated[str, typer.Argument(metavar="RUN_DIR:TRIAL", help="A trained trial of a search.")],
    trial: Annotated[
        int | None, typer.Argument(metavar="[TRIAL]", help="Number of the trial, if it is not in RUN_DIR:TRIAL.")
    ] = None,
) -> None:
    """Train one trial again with its seed and compare the rewards; exit status 1 if they differ."""
    from nas.commands.runs import rerun_trial

    rerun_trial(name, trial)


def retrain(
    run_dir: RunDir,
    top: Annotated[
        int, typer.Option(help="Number of found necks, and of random ones; all known necks are trained as well.")
    ] = 5,
    seeds: Annotated[int, typer.Option(help="Trainings of each neck.")] = 5,
    longer: Annotated[float, typer.Option(help="Length of each training, as a multiple of the search's.")] = 10,
    same_width: Annotated[
        bool, typer.Option("--same-width", help="Use the width of the search instead of equal multiply-adds.")
    ] = False,
    neck: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Further neck: a name such as efm or nas_fpn@mmdet, a trial (RUN_DIR:NUMBER) or a genotype's file; "
            "may be repeated.",
        ),
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Trainings at once; default: as in the search.")] = None,
    address: Annotated[str | None, typer.Option(help=ADDRESS)] = None,
) -> None:
    """Train the best necks of a search, known necks and random ones in full; score them on the test split."""
    from nas.commands.retrain import retrain as run

    run(run_dir, top, seeds, longer, same_width, neck or [], workers, address)


def submit(
    experiment: Annotated[str, typer.Argument(help="module:function or file.py:function, relative to --working-dir.")],
    address: Annotated[str, typer.Option(help="URL of the cluster's Ray dashboard, such as http://head:8265.")],
    run_dir: Annotated[str, typer.Option(help="Absolute path on storage that outlives the head node, or a URL.")],
    trials: Trials = None,
    controller: ControllerName = None,
    workers: Workers = None,
    set_: Assignments = None,
    hours: Hours = None,
    gpu_hours: GpuHours = None,
    until: Until = None,
    working_dir: Annotated[
        str, typer.Option(help="Directory that is sent to the cluster, without data and runs.")
    ] = ".",
    env: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Environment variable of the job; may be repeated.")
    ] = None,
    submission_id: Annotated[
        str | None, typer.Option("--id", help="Name of the job; default: Ray chooses one.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the log until the job ends.")] = True,
) -> None:
    """Run a search as a job on a remote Ray cluster; exit status 0 if it succeeds, 1 if not, 130 after Ctrl-C.

    Ctrl-C leaves the job running. If the search was stopped, the same command continues it.
    """
    from nas.cluster.job import search_command
    from nas.commands.cluster import submit as send

    trials, budget = budgeted(trials, hours, gpu_hours, until)
    assignments = [*(set_ or []), *budget]
    command = search_command(
        experiment, run_dir, trials=trials, controller=controller, workers=workers, assignments=assignments
    )
    sys.exit(
        send(command, address, working_dir=working_dir, variables=env or [], submission_id=submission_id, wait=wait)
    )
