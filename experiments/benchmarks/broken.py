"""The paper's recipe with two processes, twice: unbroken, and killed and resumed, first one process, then all."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
from matplotlib.figure import Figure

from experiments.benchmarks.results import RESULTS, write_result

Entry = dict[str, float]

PATIENCE_SECONDS = 3600
FIELDS = ("AP", "AP50", "APs", "APm", "APl")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiment", default="experiments.signs:recipe")
    parser.add_argument("--out", type=Path, default=Path("runs/broken"), help="directory of the two trainings; new")
    parser.add_argument("--kill-process", type=int, default=3, help="after so many epochs one training process")
    parser.add_argument("--kill-all", type=int, default=6, help="after so many epochs everything")
    parser.add_argument("--set", action="append", default=[])
    arguments = parser.parse_args()
    words = [arguments.experiment, *(word for setting in arguments.set for word in ("--set", setting))]
    whole, broken = arguments.out / "unbroken", arguments.out / "broken"
    finish(launch(whole, words), PATIENCE_SECONDS)
    break_twice(lambda: launch(broken, words), broken, arguments.kill_process, arguments.kill_all)
    wanted, found = epochs(whole), epochs(broken)
    worst = max(abs(a["loss"] / b["loss"] - 1) for a, b in zip(found, wanted, strict=True))
    _draw(wanted, found, (arguments.kill_process, arguments.kill_all)).savefig(RESULTS / "broken.png", dpi=150)
    write_result(
        "broken",
        "A training that is killed ends as if it had not been",
        _text(arguments.experiment, wanted, found, worst, arguments.kill_process, arguments.kill_all),
        {"unbroken": wanted, "broken": found, "largest_relative_difference_of_loss": worst},
    )


def launch(run_dir: Path, words: Sequence[object]) -> subprocess.Popen[str]:
    """`nasfpn train` in a process of its own."""
    program = [sys.executable, "-c", "from nas.cli import main; main()", "train", "--run-dir", run_dir, *words]
    return subprocess.Popen(list(map(str, program)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(training: subprocess.Popen[str], seconds: float) -> None:
    said, complained = training.communicate(timeout=seconds)
    if training.returncode:
        raise RuntimeError(f"the training ended with {training.returncode}: {said}\n{complained}")


def break_twice(
    start: Callable[[], subprocess.Popen[str]],
    run_dir: Path,
    process_after: int,
    all_after: int,
    seconds: float = PATIENCE_SECONDS,
) -> None:
    """Start a training, kill one of its processes, later all of them, and run the same command to its end.

    Args:
        process_after, all_after: epochs that are over then.
    """
    broken = start()
    _wait_for(lambda: len(epochs(run_dir)) >= process_after, broken, seconds)
    tree = psutil.Process(broken.pid)
    os.kill(next(each.pid for each in tree.children(recursive=True) if "RayTrainWorker" in each.name()), signal.SIGKILL)
    _wait_for(lambda: len(epochs(run_dir)) >= all_after, broken, seconds)
    for process in [*tree.children(recursive=True), tree]:
        process.kill()
    broken.communicate()
    finish(start(), seconds)


def epochs(run_dir: Path) -> list[Entry]:
    """Records of the epochs that are over."""
    path = run_dir / "epochs.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def _wait_for(condition: Callable[[], bool], training: subprocess.Popen[str], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if training.poll() is not None or time.monotonic() > deadline:
            training.kill()
            raise RuntimeError("the training ended, or took too long, before it could be killed")
        time.sleep(0.2)


def _text(
    experiment: str, wanted: Sequence[Entry], found: Sequence[Entry], worst: float, process_after: int, all_after: int
) -> str:
    rows = [
        f"| {a['epoch']:.0f} | {a['lr']:.4f} | {a['loss']:.4f} | {b['loss']:.4f} | {a['seconds']:.0f} | "
        + " | ".join(f"{a[name]:.2f} / {b[name]:.2f}" for name in FIELDS)
        + " |"
        for a, b in zip(wanted, found, strict=True)
    ]
    return "\n".join(
        [
            f"`nasfpn train {experiment}`, two processes on two CPU cores, once unbroken and once broken: after epoch",
            f"{process_after} one of the two training processes got SIGKILL (Ray Train starts anew from the last",
            f"checkpoint), after epoch {all_after} the command and everything it had started did, and the same command",
            f"was given again. The losses of an epoch differ by at most {worst:.1e} of their value.",
            "",
            "| epoch | last lr | loss, unbroken | loss, broken | seconds | " + " | ".join(FIELDS) + " |",
            "|" + "---|" * (5 + len(FIELDS)),
            *rows,
            "",
            "Of each AP the first figure is the unbroken training's. AP is on the reward split.",
            "",
            "![loss and AP of both](broken.png)",
        ]
    )


def _draw(wanted: Sequence[Entry], found: Sequence[Entry], kills: Sequence[int]) -> Figure:
    figure = Figure(figsize=(8.4, 3.4), layout="constrained")
    styles: list[dict[str, Any]] = [
        {"color": "#bbbbbb", "linewidth": 5},
        {"color": "#1b6ca8", "marker": "o", "markersize": 3},
    ]
    for axes, name, label in zip(figure.subplots(1, 2), ("loss", "AP"), ("loss, mean of the epoch", "AP"), strict=True):
        for entries, style in zip((wanted, found), styles, strict=True):
            axes.plot([entry["epoch"] for entry in entries], [entry[name] for entry in entries], **style)
        for kill in kills:
            axes.axvline(kill + 0.5, color="#c8553d", linewidth=0.8, linestyle="--")
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    figure.legend(["unbroken", "broken", "killed"], loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    return figure


if __name__ == "__main__":
    main()
