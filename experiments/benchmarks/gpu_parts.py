"""Parts of the GPU day, each started by `experiments.benchmarks.gpu_day` in a process of its own.

A part writes `PART.json` again after everything that it measured: rows, and `markdown` for people.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import torch

from experiments.benchmarks import coco_proxy, neck_pairs, neck_report, necks, proxy_gpu
from experiments.benchmarks.gpu_candidates import candidates
from experiments.benchmarks.gpu_setting import Day, Row
from experiments.benchmarks.neck_variants import Setting
from nas.commands.search import search as run_search
from nas.configuration import override
from nas.data.coco import open_splits
from nas.detection.backbone import build_backbone
from nas.runs.journal import open_journal
from nas.runs.run_directory import RunDirectory
from nas.search.config import data_of

GPU_TESTS = ("tests/nas/proxy/test_proxy_on_gpu.py", "tests/necks/test_conformance.py")
REST = 45.0
"""Seconds that a search needs beside its trials: the start of Ray and of its workers, and its report."""


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
    """Features of frozen backbones, then steps of trained ones, at COCO's size, with images read ahead."""
    config, count, backbones, batches = coco_proxy.settings(dry=day.dry)
    config = replace(config, loaders=1) if day.dry else replace(config, threads=4, loaders=8)
    data = coco_proxy.write_images(day.out / "coco", count)
    features = list(coco_proxy.feature_rows(data, config, backbones))
    found: list[Row] = []
    for row in coco_proxy.rows(data, config, backbones, batches):
        found.append(row)
        text = f"{coco_proxy.table(found)}\n\n{coco_proxy.feature_table(features)}"
        day.write("coco", text, steps=found, features=features)


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
