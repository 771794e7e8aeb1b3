"""The files of `experiments/cluster`, filled in: what starts a Ray cluster for a search."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

import typer

from nas.cluster.client import ClusterError
from nas.cluster.job import JobError, quoted, search_command
from nas.terminal import shown
from nasfpn import EXPERIMENTS

FILES = {"aws": "aws.yaml", "gcp": "gcp.yaml", "kuberay": "kuberay-rayjob.yaml", "slurm": "slurm.sh"}

AWS_MACHINES = {1: ("g5.2xlarge", 8), 4: ("g5.12xlarge", 48), 8: ("g5.48xlarge", 192)}
"""Instance type and CPUs by GPUs (A10G)."""

GCP_MACHINES = {
    1: ("g2-standard-8", 8),
    2: ("g2-standard-24", 24),
    4: ("g2-standard-48", 48),
    8: ("g2-standard-96", 96),
}
"""Machine type and CPUs by GPUs (L4)."""

CPUS_PER_GPU = 4
"""CPUs of a pod or a Slurm node, per GPU."""

WAIT_SECONDS = 1800
"""Clouds need minutes to start a machine, or have no spot machine for a while."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A manifest and its values."""

    target: str
    """One of `FILES`."""

    workers: int = 4
    """Nodes with GPUs, at most."""

    gpus_per_node: int = 1
    image: str = "nas-fpn:latest"
    """Has Python, Ray and nas-fpn; of Slurm there is none."""

    experiment: str = "experiments.signs:search"
    run_dir: str = "/shared/runs/signs"
    assignments: tuple[str, ...] = ()


def render(manifest: Manifest) -> str:
    """The text of the manifest.

    Raises:
        JobError: for values that no manifest can have.
    """
    if manifest.target not in FILES:
        raise JobError(f"no manifest {manifest.target!r}; available: {', '.join(FILES)}")
    for name in ("workers", "gpus_per_node"):
        if getattr(manifest, name) < 1:
            raise JobError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(manifest, name)}")
    for text in (manifest.image, manifest.experiment, manifest.run_dir, *manifest.assignments):
        if not text.isprintable():
            raise JobError(f"{text!r} has characters that cannot be printed; leave them out")
    template = (EXPERIMENTS / "cluster" / FILES[manifest.target]).read_text()
    return Template(template).safe_substitute(_values(manifest))


def show(manifest: Manifest, output: Path | None) -> None:
    """Print a manifest, or write it to a file that is not there yet.

    Raises:
        ClusterError: if the file exists.
    """
    text = render(manifest)
    if output is None:
        typer.echo(text, nl=False)
    elif output.exists():
        raise ClusterError(f"{output} exists, and may have your changes; give --output another name, or delete it")
    else:
        output.write_text(text)
        typer.secho(f"wrote {shown(str(output))}; lines with EDIT are yours", err=True, dim=True)


def _values(manifest: Manifest) -> dict[str, str | int]:
    """By placeholder; commands are quoted for a shell, and strings for YAML."""
    gpus = manifest.gpus_per_node
    machine, cpus = _machine(manifest)
    command = search_command(
        manifest.experiment,
        manifest.run_dir,
        workers=manifest.workers * gpus,
        assignments=("resources.gpus=1", f"resources.wait_seconds={WAIT_SECONDS}", *manifest.assignments),
    )
    submit = ["nasfpn", "submit", manifest.experiment, "--address", "http://127.0.0.1:8265", *_after_address(command)]
    return {
        "workers": manifest.workers,
        "gpus": gpus,
        "cpus": cpus,
        "memory": 4 * cpus,
        "machine": machine,
        "image": json.dumps(manifest.image),
        "command": quoted(command),
        "command_string": json.dumps(quoted(command)),
        "submit": quoted(submit),
        "ray_version": json.dumps(importlib.metadata.version("ray")),
    }


def _after_address(command: list[str]) -> list[str]:
    return command[command.index("--address") + 2 :]


def _machine(manifest: Manifest) -> tuple[str, int]:
    tables: Mapping[str, dict[int, tuple[str, int]]] = {"aws": AWS_MACHINES, "gcp": GCP_MACHINES}
    gpus = manifest.gpus_per_node
    table = tables.get(manifest.target)
    if table is None:
        return "", CPUS_PER_GPU * gpus
    if gpus not in table:
        raise JobError(
            f"--gpus-per-node of {manifest.target} is one of {', '.join(map(str, table))}, got {gpus}; for another "
            "machine render one of these and change its machine type and resources"
        )
    return table[gpus]
