"""The command `nasfpn`. Modules that import torch or Ray are imported by the commands that need them."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from nas.cli import cluster, data, detectors, proxy
from nas.cli.options import ADDRESS, TENSORBOARD, Assignments, ControllerName, RunDir, Trials, Workers
from nas.errors import UserError
from search_space import GenotypeError

app = typer.Typer(
    name="nasfpn",
    help="Neural architecture search for feature-pyramid necks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(data.app, name="data")
app.add_typer(cluster.app, name="cluster")
app.add_typer(proxy.app, name="proxy")
app.command()(detectors.evaluate)
app.command()(detectors.convert)


def main() -> None:
    """Entry point: what users can mend is one line on standard error and exit status 2."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("nas").setLevel(logging.INFO)
    try:
        app()
    except (UserError, GenotypeError) as error:
        if os.environ.get("NASFPN_TRACEBACK"):
            raise
        typer.secho(f"error: {error}", err=True, fg=typer.colors.RED)
        sys.exit(2)


@app.command()
def search(
    experiment: Annotated[str, typer.Argument(help="module:function or file.py:function that returns a SearchConfig.")],
    run_dir: Annotated[
        str,
        typer.Option(metavar="DIR|URL", help="The one directory that the search writes to; used again, it goes on."),
    ],
    trials: Trials = None,
    controller: ControllerName = None,
    workers: Workers = None,
    set_: Assignments = None,
    address: Annotated[str | None, typer.Option(help=ADDRESS)] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Refuse to begin a new search.")] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help=TENSORBOARD)] = False,
) -> None:
    """Search for a neck: known necks, a random baseline, then the controller; ends with an export and a report."""
    from nas.commands.search import search as run

    assignments = list(set_ or [])
    if trials is not None:
        assignments.append(f"trials={trials}")
    if workers is not None:
        assignments.append(f"resources.workers={workers}")
    run(experiment, run_dir, assignments, controller, address, resume, tensorboard)


@app.command()
def extend(
    run_dir: RunDir,
    trials: Annotated[str, typer.Option(metavar="+N", help="So many candidates more; or N, that many in all.")],
    workers: Annotated[int | None, typer.Option(help="Trials at once; default: as before.")] = None,
    address: Annotated[str | None, typer.Option(help=ADDRESS)] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help=TENSORBOARD)] = False,
) -> None:
    """Go on with a search that is done, or was cut off, as it was configured."""
    from nas.commands.search import extend as run

    run(run_dir, trials, workers, address, tensorboard)


@app.command()
def rerun(
    run_dir: RunDir, trial: Annotated[int, typer.Argument(metavar="TRIAL", help="Number of a trained trial.")]
) -> None:
    """Train one trial again, with its seed, and compare; exit status 1 if the reward differs."""
    from nas.commands.runs import rerun_trial

    rerun_trial(run_dir, trial)


@app.command()
def retrain(
    run_dir: RunDir,
    top: Annotated[int, typer.Option(help="Necks of the search, and as many random ones, beside all known.")] = 5,
    seeds: Annotated[int, typer.Option(help="Trainings of each.")] = 5,
    longer: Annotated[float, typer.Option(help="Steps of each, in trainings of the search.")] = 10,
    same_width: Annotated[
        bool, typer.Option("--same-width", help="Keep the search's width instead of equal multiply-adds.")
    ] = False,
    workers: Annotated[int | None, typer.Option(help="Trainings at once; default: as in the search.")] = None,
    address: Annotated[str | None, typer.Option(help=ADDRESS)] = None,
) -> None:
    """Train the best necks in full, beside known and random ones, and score them on the test split."""
    from nas.commands.retrain import retrain as run

    run(run_dir, top, seeds, longer, same_width, workers, address)


@app.command()
def train(
    experiment: Annotated[str, typer.Argument(help="module:function or file.py:function that returns a TrainConfig.")],
    run_dir: Annotated[
        Path,
        typer.Option(help="The one directory that the training writes to; used again, it goes on."),
    ],
    neck: Annotated[
        str | None, typer.Option(help="A known neck, a genotype's JSON file, or what nasfpn export wrote.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images.")] = None,
    processes: Annotated[int | None, typer.Option(help="Processes (GPUs, where there are any) that train.")] = None,
    set_: Assignments = None,
    address: Annotated[str | None, typer.Option(help=ADDRESS)] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help=TENSORBOARD)] = False,
) -> None:
    """Train a detector in full; ends with one that nasfpn evaluate and nasfpn export take."""
    from nas.commands.train import train as run

    wishes = {"neck.name": neck, "epochs": epochs, "resources.processes": processes}
    assignments = [f"{name}={value}" for name, value in wishes.items() if value is not None]
    run(experiment, run_dir, [*(set_ or []), *assignments], address, tensorboard)


@app.command()
def reproduce(
    paper: Annotated[str, typer.Argument(help="nas-fpn.")],
    variant: Annotated[
        str, typer.Option(help="Function of experiments.coco: nas_fpn, nas_fpn_1024, ..., retinanet, search.")
    ] = "nas_fpn",
    coco: Annotated[Path | None, typer.Option(help="Where COCO 2017 is; without it: what is needed.")] = None,
    run_dir: Annotated[str | None, typer.Option(help="Default: runs/coco-VARIANT.")] = None,
    set_: Assignments = None,
    address: Annotated[str | None, typer.Option(help=ADDRESS)] = None,
) -> None:
    """Published figures beside those of the detectors built here; with COCO, their training or the paper's search."""
    from nas.commands.reproduce import reproduce as run

    run(paper, variant, coco, run_dir, set_ or [], address)


@app.command()
def submit(
    experiment: Annotated[str, typer.Argument(help="module:function or file.py:function, as seen from --working-dir.")],
    address: Annotated[str, typer.Option(help="URL of the cluster's Ray dashboard, such as http://head:8265.")],
    run_dir: Annotated[str, typer.Option(help="Absolute path on storage that outlives the head, or a URL.")],
    trials: Trials = None,
    controller: ControllerName = None,
    workers: Workers = None,
    set_: Assignments = None,
    working_dir: Annotated[
        str, typer.Option(help="Directory that is sent to the cluster, without data and runs.")
    ] = ".",
    env: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Environment of the job.")] = None,
    submission_id: Annotated[str | None, typer.Option("--id", help="Name of the job; default: Ray makes one.")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the log until the job ends.")] = True,
) -> None:
    """Search on a Ray cluster elsewhere, as a job; exit status 0 if it succeeds, 1 if not, 130 after Ctrl-C.

    Ctrl-C leaves the job running. The same command again goes on with a search that was stopped.
    """
    from nas.cluster.job import search_command
    from nas.commands.cluster import submit as send

    command = search_command(
        experiment, run_dir, trials=trials, controller=controller, workers=workers, assignments=set_ or []
    )
    sys.exit(
        send(command, address, working_dir=working_dir, variables=env or [], submission_id=submission_id, wait=wait)
    )


@app.command()
def status(run_dir: RunDir, as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False) -> None:
    """How far a search is and what is best so far; works while it runs."""
    from nas.commands.runs import show_status

    show_status(run_dir, as_json)


@app.command()
def report(run_dir: RunDir) -> None:
    """Write the report (HTML and pictures) of a search, finished or not."""
    from nas.commands.runs import make_report

    make_report(run_dir)


@app.command()
def export(
    source: Annotated[
        str, typer.Argument(help="A search's directory or URL, an exported neck, or a saved detector (nasfpn train).")
    ],
    output: Annotated[Path, typer.Option(help="Directory to write; new or empty.")],
    trial: Annotated[int | None, typer.Option(help="Number of a trial; default: the best found.")] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", help="Also: python, onnx, pt2, mmdet, torchvision, or all. May be repeated."),
    ] = None,
    fold: Annotated[bool, typer.Option("--fold", help="Batch norms folded into convolutions in these.")] = False,
) -> None:
    """Write a trained neck or detector as plain files (JSON, safetensors, a model card) and in other formats."""
    from nas.commands.export import export_anything

    export_anything(source, output, trial, formats or [], fold=fold)


@app.command()
def dashboard(
    run_dir: RunDir,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8080,
) -> None:
    """Open a search in Optuna's dashboard (extra: dashboard); works while it runs."""
    from nas.commands.dashboard import dashboard as run

    run(run_dir, host, port)


@app.command()
def describe(
    neck: Annotated[
        str | None,
        typer.Argument(
            help="A known neck's name, a genotype's JSON file, an exported directory, RUN_DIR (the best found) or "
            "RUN_DIR:NUMBER (a trial)."
        ),
    ] = None,
    picture: Annotated[Path | None, typer.Option("--draw", metavar="FILE", help="Draw it: .svg, .png or .pdf.")] = None,
    other: Annotated[str | None, typer.Option("--compare", metavar="NECK", help="What differs from that one.")] = None,
    table: Annotated[bool, typer.Option("--table", help="Compare what all nine designs cost.")] = False,
    backbone: Annotated[str, typer.Option(help="Backbone of the detector that is counted.")] = "resnet50",
    channels: Annotated[int, typer.Option(help="Channels of the neck and the head.")] = 256,
    repeats: Annotated[int | None, typer.Option(help="Default: 7 for nas_fpn, 3 for bifpn, else 1.")] = None,
    size: Annotated[int, typer.Option(help="Side of the square image in pixels.")] = 640,
    classes: Annotated[int, typer.Option(help="Classes; 90 is how the papers count COCO (its category ids).")] = 90,
) -> None:
    """Cells, parameters and multiply-adds of a neck, alone and in a RetinaNet; its picture; two necks side by side."""
    from nas.commands.describe import Setting, compare_necks, describe_all, describe_neck

    if table == (neck is not None):
        raise UserError("name one neck, or ask for the --table of all")
    if table and (picture is not None or other is not None):
        raise UserError("--table is of all designs; --draw and --compare want one neck")
    if table and repeats is not None:
        raise UserError("--table has the usual repeats of each design; leave --repeats out")
    if neck is None:
        describe_all(backbone, channels, size)
        return
    if other is not None and picture is not None:
        raise UserError("--draw is for one neck; draw the two of --compare one by one")
    setting = Setting(backbone, channels, repeats, size, classes)
    if other is None:
        describe_neck(neck, setting, picture)
    else:
        compare_necks(neck, other, setting)
