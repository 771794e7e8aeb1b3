"""The complete command `nasfpn`: `nas.cli` with `reproduce` and `cluster`, which need our own experiments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli.app import GROUPS, PANELS, command_line, run
from nas.cli.options import ADDRESS, Assignments

cluster = typer.Typer(help="Start Ray clusters for searches.", no_args_is_help=True)


@cluster.callback()
def _cluster() -> None:
    """Keeps `render` a command of its own."""


@cluster.command("render")
def render(
    target: Annotated[str, typer.Argument(help="Kind of cluster: aws, gcp, kuberay or slurm.")],
    workers: Annotated[int, typer.Option(help="Largest number of nodes with GPUs.")] = 4,
    gpus_per_node: Annotated[int, typer.Option(help="GPUs of each node.")] = 1,
    image: Annotated[str, typer.Option(help="Container image with Python, Ray and nas-fpn.")] = "nas-fpn:latest",
    experiment: Annotated[
        str, typer.Option(help="Experiment: module:function or file.py:function.")
    ] = "experiments.signs:search",
    run_dir: Annotated[str, typer.Option(help="Absolute path on shared storage, or a URL.")] = "/shared/runs/signs",
    set_: Assignments = None,
    output: Annotated[Path | None, typer.Option(help="File to write; default: standard output.")] = None,
) -> None:
    """Print a manifest that starts a cluster: YAML for `ray up` or KubeRay, or a script for Slurm."""
    from nasfpn.manifests import Manifest, show

    manifest = Manifest(
        target=target,
        workers=workers,
        gpus_per_node=gpus_per_node,
        image=image,
        experiment=experiment,
        run_dir=run_dir,
        assignments=tuple(set_ or []),
    )
    show(manifest, output)


def reproduce(
    paper: Annotated[str, typer.Argument(help="The paper: nas-fpn.")],
    variant: Annotated[
        str, typer.Option(help="Function of experiments.coco: nas_fpn, nas_fpn_1024, ..., retinanet, search.")
    ] = "nas_fpn",
    coco: Annotated[
        Path | None, typer.Option(help="Directory of COCO 2017; without it, the command only prints what is needed.")
    ] = None,
    run_dir: Annotated[str | None, typer.Option(help="Run directory; default: runs/coco-VARIANT.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Set any field, such as seed=1.")
    ] = None,
    address: Annotated[str | None, typer.Option(help=ADDRESS)] = None,
) -> None:
    """Compare published figures with those of our detectors; with --coco, run the training or the paper's search."""
    from nasfpn.reproduce import reproduce as run_it

    run_it(paper, variant, coco, run_dir, set_ or [], address)


app = command_line(
    {**PANELS, "Detectors": (*PANELS["Detectors"], reproduce)},
    {**GROUPS, "cluster": cluster},
    epilog="To begin: nasfpn search experiments.signs:search --run-dir runs/signs",
)


def main() -> None:
    """Entry point of the command."""
    run(app)
