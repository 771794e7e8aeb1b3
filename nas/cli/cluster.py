"""`nasfpn cluster`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli.options import Assignments

app = typer.Typer(help="Start Ray clusters for searches.", no_args_is_help=True)


@app.callback()
def _cluster() -> None:
    """Keeps `render` a command of its own."""


@app.command("render")
def cluster_render(
    target: Annotated[str, typer.Argument(help="aws, gcp, kuberay or slurm.")],
    workers: Annotated[int, typer.Option(help="Nodes with GPUs, at most.")] = 4,
    gpus_per_node: Annotated[int, typer.Option(help="GPUs of each.")] = 1,
    image: Annotated[str, typer.Option(help="Container with Python, Ray and nas-fpn.")] = "nas-fpn:latest",
    experiment: Annotated[str, typer.Option(help="module:function or file.py:function.")] = "experiments.signs:search",
    run_dir: Annotated[str, typer.Option(help="Absolute path on shared storage, or a URL.")] = "/shared/runs/signs",
    set_: Assignments = None,
    output: Annotated[Path | None, typer.Option(help="File to write; default: standard output.")] = None,
) -> None:
    """Print what starts a cluster: YAML for `ray up` or KubeRay, a script for Slurm; edit it as you like."""
    from nas.cluster.manifests import Manifest
    from nas.commands.cluster import show_manifest

    manifest = Manifest(
        target=target,
        workers=workers,
        gpus_per_node=gpus_per_node,
        image=image,
        experiment=experiment,
        run_dir=run_dir,
        assignments=tuple(set_ or []),
    )
    show_manifest(manifest, output)
