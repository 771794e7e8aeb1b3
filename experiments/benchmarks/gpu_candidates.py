"""Part of the GPU day: seconds, losses and AP of candidates, trained step by step and as CUDA graphs."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import torch

from experiments.benchmarks.gpu_setting import Day, Row
from experiments.benchmarks.results import RESULTS
from nas.proxy.candidate import candidate_neck
from nas.proxy.config import Precision
from nas.proxy.phases import Phases
from nas.proxy.task import ProxyTask
from nas.search.config import data_of
from search_space import known_genotype

KNOWN = ("none", "fpn", "pafpn", "bifpn", "nas_fpn")
TIMED, TOLERANCE = "nas_fpn", 0.02

Graph = Literal["auto", "on", "off"]
ORDINARY: Graph = "off"


def candidates(day: Day) -> None:
    """Seconds of a candidate by kind of step and precision, with its phases, losses beside each other, and AP of known
    necks beside the CPU's."""
    config = day.config()
    base = replace(config.proxy, warm_steps=0, precision="fp32")
    task = ProxyTask(base, data_of(config))
    rows: list[Row] = []
    graph: Graph = "auto" if day.gpu else "on"
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    for precision in precisions:
        for cuda_graph in (ORDINARY, graph):
            # Set on the task, since a CPU has no graphs but can run the same whole steps.
            task.config = replace(base, precision=precision, cuda_graph=cuda_graph)
            rows.append({"precision": precision, "step": "ordinary" if cuda_graph == ORDINARY else "graph"})
            rows[-1] |= _timed(task)
            day.write("candidates", step_table(rows), rows=rows)
    task.config = replace(base, cuda_graph=graph)
    cpu, scores = recorded_ap(), dict[str, float | None]()
    for name in KNOWN:
        scores[name] = task.run(known_genotype(name), 0).metrics["AP"]
        markdown = f"{step_table(rows)}\n\n{ap_table(scores, cpu)}"
        day.write("candidates", markdown, rows=rows, ap=scores, ap_cpu=cpu)


def _timed(task: ProxyTask) -> Row:
    """A candidate for the phases, which a GPU waits for, and one for the time."""
    build = partial(candidate_neck, known_genotype(TIMED), config=task.config.neck)
    phases = Phases(task.device)
    task.run_neck(build, 0, phases=phases)
    start = time.perf_counter()
    metrics = task.run_neck(build, 0).metrics
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "phases": dict(phases.seconds), "losses": _losses(task), **metrics}


def _losses(task: ProxyTask) -> list[float]:
    """Of the first steps, each waited for."""
    torch.manual_seed(0)
    build = partial(candidate_neck, known_genotype(TIMED), config=task.config.neck)
    training = task.training(task.detector(build), 0)
    return [training.loss for _, _ in zip(range(50), training.steps(), strict=False)]


def step_table(rows: Sequence[Row]) -> str:
    lines = [
        "| precision | step | s per candidate | training | scoring | the rest | peak MiB | AP "
        "| largest difference of a loss |\n|---|---|---|---|---|---|---|---|---|"
    ]
    for row in rows:
        ordinary = next(each for each in rows if each["precision"] == row["precision"])
        apart = max(abs(a - b) / abs(b) for a, b in zip(row["losses"], ordinary["losses"], strict=True))
        rest = row["seconds"] - row["train_seconds"] - row["eval_seconds"]
        peak = row["peak_memory_mb"] or 0
        lines.append(
            f"| {row['precision']} | {row['step']} | {row['seconds']:.2f} | {row['train_seconds']:.2f} "
            f"| {row['eval_seconds']:.2f} | {rest:.2f} | {peak:.0f} | {row['AP']:.1f} | {100 * apart:.2f} % |"
        )
    phases = [
        f"* {row['precision']}, {row['step']}: "
        + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in row["phases"].items())
        for row in rows
    ]
    note = f"Phases, each of which waits for the device (losses of fp32 should differ by less than {TOLERANCE:.0%}):"
    return "\n".join(lines) + f"\n\n{note}\n\n" + "\n".join(phases)


def recorded_ap() -> dict[str, list[float]]:
    """AP of known necks on a CPU, each seed, as recorded."""
    data = json.loads((RESULTS / "signs_separation.json").read_text())["data"]
    return {name: [run["AP"] for run in data[name]] for name in KNOWN}


def ap_table(scores: dict[str, float | None], cpu: dict[str, list[float]]) -> str:
    lines = ["| neck | AP here, one seed | AP on a CPU, mean and each seed |\n|---|---|---|"]
    for name, ap in scores.items():
        each = ", ".join(f"{value:.1f}" for value in cpu[name])
        lines.append(f"| {name} | {'-' if ap is None else f'{ap:.1f}'} | {statistics.mean(cpu[name]):.1f} ({each}) |")
    return "\n".join(lines)
