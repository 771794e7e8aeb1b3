"""Parts of the GPU day, each started by `experiments.benchmarks.gpu_day` in a process of its own.

A part writes `PART.json` again after everything that it measured: rows, and `markdown` for people.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from experiments.benchmarks import coco_proxy, neck_pairs, neck_report, necks, proxy_gpu
from experiments.benchmarks.neck_variants import Setting
from experiments.benchmarks.results import RESULTS
from experiments.signs import search
from nas.atomic_write import atomic_write
from nas.commands.search import search as run_search
from nas.configuration import override
from nas.data.coco import open_splits
from nas.data.config import SignsConfig
from nas.detection.backbone import build_backbone
from nas.proxy.candidate import candidate_neck
from nas.proxy.config import Precision, ProxyConfig
from nas.proxy.phases import Phases
from nas.proxy.task import ProxyTask
from nas.runs.journal import open_journal
from nas.runs.run_directory import RunDirectory
from nas.search.config import SearchConfig, data_of
from search_space import known_genotype

GPU_TESTS = ("tests/nas/proxy/test_proxy_on_gpu.py", "tests/necks/test_conformance.py")
KNOWN = ("none", "fpn", "pafpn", "bifpn", "nas_fpn")
TIMED, TOLERANCE = "nas_fpn", 0.02
REST = 45.0
"""Seconds that a search needs beside its trials: the start of Ray and of its workers, and its report."""

Row = dict[str, Any]
Graph = Literal["auto", "on", "off"]
ORDINARY: Graph = "off"


@dataclass(frozen=True)
class Day:
    """What all parts are told.

    Args:
        seconds: that the part has.
    """

    out: Path
    seconds: float
    dry: bool
    assignments: tuple[str, ...]

    @property
    def gpu(self) -> bool:
        return torch.cuda.is_available() and not self.dry

    def config(self) -> SearchConfig:
        """The default search; tiny and on the CPU in a dry run."""
        config = override(search(), self.assignments)
        if not self.dry:
            return config
        backbone = replace(config.proxy.backbone, name="resnet10", weights="none")
        proxy = replace(
            config.proxy, backbone=backbone, image_size=64, steps=4, warm_steps=0, precision="fp32", device="cpu"
        )
        data = replace(data_of(config), root=str(self.out / "signs"), embedded=SignsConfig(train=24, reward=8, test=2))
        return replace(config, proxy=proxy, data=data)

    def write(self, part: str, markdown: str, **data: Any) -> None:
        atomic_write(self.out / f"{part}.json", json.dumps({**data, "markdown": markdown}, indent=1) + "\n")


def tests(day: Day) -> None:
    """Exit status and summary of the tests that are marked for GPUs; a dry run only collects them."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "-rfE", "--tb=short"]
    command += ["--collect-only", GPU_TESTS[0]] if day.dry else GPU_TESTS
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    tail = (done.stdout + done.stderr)[-6000:]
    lines = tail.strip().splitlines()
    day.write("tests", f"```\n{lines[-1] if lines else ''}\n```", status=done.returncode, output=tail)
    print(tail)
    if done.returncode:
        raise SystemExit(done.returncode)


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
            day.write("candidates", _step_table(rows), rows=rows)
    task.config = replace(base, cuda_graph=graph)
    cpu, scores = recorded_ap(), dict[str, float | None]()
    for name in KNOWN:
        scores[name] = task.run(known_genotype(name), 0).metrics["AP"]
        markdown = f"{_step_table(rows)}\n\n{_ap_table(scores, cpu)}"
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
    training = task._training(task.detector(build), 0)
    return [training.loss for _, _ in zip(range(50), training.steps(), strict=False)]


def _step_table(rows: Sequence[Row]) -> str:
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


def _ap_table(scores: dict[str, float | None], cpu: dict[str, list[float]]) -> str:
    lines = ["| neck | AP here, one seed | AP on a CPU, mean and each seed |\n|---|---|---|"]
    for name, ap in scores.items():
        each = ", ".join(f"{value:.1f}" for value in cpu[name])
        lines.append(f"| {name} | {'-' if ap is None else f'{ap:.1f}'} | {statistics.mean(cpu[name]):.1f} ({each}) |")
    return "\n".join(lines)


def hourly(day: Day) -> None:
    """Candidates per hour through the workers of the engine, with several of them on the one GPU."""
    config = day.config()
    rows: list[Row] = []
    end = time.monotonic() + day.seconds
    for name, workers in hourly_grid(dry=day.dry):
        if rows and time.monotonic() + 25 > end:
            break
        proxy = override(config.proxy, [] if day.dry else proxy_gpu.SETTINGS[name])
        share = 1 / workers if day.gpu else 0.0
        each = 4 if day.dry else 6
        rows.append(proxy_gpu.measure(day.out, name, proxy, workers, each, data=data_of(config), gpus=share))
        day.write("hourly", "\n".join([proxy_gpu.HEAD, *map(proxy_gpu.line, rows)]), rows=rows)


def hourly_grid(*, dry: bool) -> list[tuple[str, int]]:
    """Settings and workers, those first that matter most."""
    if dry:
        return [("dry", 1)]
    graphed, ordinary = "bf16, CUDA graph", "bf16"
    return [(graphed, 8), (graphed, 4), (graphed, 1), (ordinary, 8), (ordinary, 1)]


def neck_table(day: Day) -> None:
    """The grid of the benchmark of necks, most telling settings first; public necks as far as they are installed."""
    device = torch.device("cuda" if day.gpu else "cpu")
    end = time.monotonic() + day.seconds
    layouts = ["NHWC"] if day.dry else ["NCHW", "NHWC"]
    arguments = Namespace(layouts=layouts, seconds=0.05 if day.dry else 0.4, longest=10)
    rows: list[Row] = []
    for setting in neck_settings(gpu=day.gpu):
        for name, pair in neck_pairs.PAIRS.items():
            if day.dry and (rows or not name.startswith("FPN (torchvision)")):
                continue
            if time.monotonic() + 5 > end:
                return
            row = necks.tried(importable(pair), setting, device, arguments)
            rows.append({"neck": name, **asdict(setting), **row})
            day.write("necks", f"{neck_report.NOTES}\n\n{neck_report.speed_table(rows)}", rows=rows)


def neck_settings(*, gpu: bool) -> list[Setting]:
    if not gpu:
        return [Setting(64, 1, "inference", "fp32", "eager")]
    return [
        Setting(640, batch, phase, precision, mode)
        for mode in ("graphed", "eager", "compiled")
        for precision in ("fp32", "bf16", "fp16")
        for phase, batch in (("inference", 1), ("training", 8))
    ]


def importable(pair: neck_pairs.Pair) -> neck_pairs.Pair:
    """The pair, without the public neck where its package is missing."""
    if pair.peer is None:
        return pair
    try:
        pair.peer((64, 64))
    except ImportError:
        return replace(pair, peer=None)
    return pair


def coco(day: Day) -> None:
    """Steps of COCO-sized proxy tasks."""
    config, count, backbones, batches = coco_proxy.settings(dry=day.dry)
    data = coco_proxy.write_images(day.out / "coco", count)
    found: list[Row] = []
    for row in coco_proxy.rows(data, _many_threads(config, dry=day.dry), backbones, batches):
        found.append(row)
        day.write("coco", coco_proxy.table(found), rows=found)


def _many_threads(config: ProxyConfig, *, dry: bool) -> ProxyConfig:
    return config if dry else replace(config, threads=8)


def whole_search(day: Day) -> None:
    """The default search with eight workers on the GPU, for as long as there is time."""
    path = day.out / "search"
    settings = [*day.assignments, "trials=8000"]
    if day.gpu:
        hours = max(0.005, (day.seconds - REST) / 3600)
        settings += [f"budget.hours={hours:.4f}", "resources.gpus=0.125", "resources.workers=8", "proxy.precision=bf16"]
        run_search("experiments.signs:search", str(path), settings, None, None, False)
    else:
        settings = [f"data.root={json.dumps(str(day.out / 'search-signs'))}", "proxy.steps=2", "trials=1"]
        settings += ["random_trials=0", "known=[]", "confirm.trainings=0", "proxy.image_size=64"]
        settings += ["data.embedded.train=16", "data.embedded.reward=8", "data.embedded.test=2"]
        settings += ["proxy.backbone.name=resnet10", "proxy.backbone.weights=none", "resources.workers=1"]
        run_search("experiments.signs:smoke", str(path), settings, None, None, False)
    trials = [trial for trial in open_journal(RunDirectory(path)).trials() if trial.ended is not None]
    ended = sorted(trial.ended for trial in trials if trial.ended is not None)
    span = ended[-1] - ended[0] if len(ended) > 1 else 0.0
    rate = 3600 * (len(ended) - 1) / span if span else 0.0
    day.write(
        "search", f"{len(ended)} trials, {rate:.0f} an hour from first end to last", trials=len(ended), hourly=rate
    )


def pack(day: Day) -> None:
    """Weights of EfficientNet-Lite0, the default backbone, in half precision (6 MB), and the data: for a machine
    without a network."""
    config = day.config()
    body = build_backbone(config.proxy.backbone).body
    assert isinstance(body, torch.nn.Module)
    state = body.state_dict().items()
    halves = {name: value.half() if value.is_floating_point() else value for name, value in state}
    torch.save(halves, day.out / "backbone.pt")
    open_splits(data_of(config))


PARTS: dict[str, Callable[[Day], None]] = {
    "tests": tests,
    "candidates": candidates,
    "hourly": hourly,
    "necks": neck_table,
    "coco": coco,
    "search": whole_search,
    "pack": pack,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=list(PARTS))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--dry", action="store_true")
    parser.add_argument("--set", dest="assignments", action="append", default=[])
    arguments = parser.parse_args()
    if arguments.part != "pack" and not arguments.dry and not torch.cuda.is_available():
        parser.error("no GPU was found; --dry runs everything at tiny sizes on the CPU")
    arguments.out.mkdir(parents=True, exist_ok=True)
    day = Day(arguments.out.resolve(), arguments.seconds, arguments.dry, tuple(arguments.assignments))
    PARTS[arguments.part](day)


if __name__ == "__main__":
    main()
