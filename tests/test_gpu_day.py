"""The GPU day keeps to its time, and keeps what it has whatever a part does."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from experiments.benchmarks import neck_pairs
from experiments.benchmarks.gpu_candidates import recorded_ap, step_table
from experiments.benchmarks.gpu_day import PARTS, Part, Record, launched, measured, run_parts, write_report
from experiments.benchmarks.gpu_parts import hourly_grid, importable, neck_settings, pack
from experiments.benchmarks.gpu_setting import Day
from nas.detection.backbone import build_backbone

A, B, C = Part("a", "A", 10, 5), Part("b", "B", None, 5), Part("c", "C", 30, 20)


class Clock:
    """Time that passes only when told."""

    def __init__(self) -> None:
        self.now = 100.0
        self.given: list[tuple[str, float]] = []

    def __call__(self) -> float:
        return self.now

    def running(self, **taken: float):
        def run(part: Part, seconds: float):
            self.given.append((part.name, seconds))
            wanted = taken[part.name]
            self.now += min(wanted, seconds)
            return ("failed", "boom") if wanted < 0.5 else ("cut off" if wanted > seconds else "done", None)

        return run


def test_parts_get_their_limit_or_what_is_left():
    clock = Clock()
    records = run_parts([A, B, C], 60, clock.running(a=8, b=100), lambda part: {}, lambda kept: None, clock)
    assert clock.given == [("a", 10), ("b", 52)]
    assert [record.state for record in records] == ["done", "cut off", "no time left"]
    assert [record.seconds for record in records] == [8, 52, 0]


def test_a_failing_part_leaves_the_others_alone_and_all_is_kept_after_each():
    clock, kept = Clock(), []
    run = clock.running(a=0.1, b=20, c=10)
    run_parts([A, B, C], 60, run, lambda part: {"of": part.name}, lambda records: kept.append(list(records)), clock)
    assert [len(records) for records in kept] == [1, 2, 3]
    assert [(record.state, record.error) for record in kept[-1]] == [("failed", "boom"), ("done", None), ("done", None)]
    assert kept[-1][1].data == {"of": "b"}


def _processes(pid: int) -> list[psutil.Process]:
    try:
        return [psutil.Process(pid)]
    except psutil.NoSuchProcess:
        return []


def test_a_command_past_its_time_is_ended_with_all_that_it_started(tmp_path):
    pid = tmp_path / "pid"
    child = f"import os, pathlib, time; pathlib.Path({str(pid)!r}).write_text(str(os.getpid())); time.sleep(600)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    assert launched([sys.executable, "-c", parent], tmp_path / "log", 4) == ("cut off", None)
    ended = psutil.wait_procs(_processes(int(pid.read_text())), timeout=30)
    assert not ended[1]


def test_a_command_that_fails_gives_the_end_of_its_log(tmp_path):
    state, error = launched([sys.executable, "-c", "raise SystemExit('no card')"], tmp_path / "log", 30)
    assert state == "failed"
    assert error.endswith("exit status 1: no card")
    assert launched([sys.executable, "-c", ""], tmp_path / "log", 30) == ("done", None)


def test_the_report_has_errors_and_figures(tmp_path):
    records = [Record("a", "First", "failed", 3.0, "boom"), Record("b", "Second", "done", 4.0, None, {"markdown": "7"})]
    write_report(tmp_path, records, dry=True)
    text = (tmp_path / "gpu_day.md").read_text()
    assert "no figure here means anything" in text
    assert "## First\n\nfailed, 3 s\n\n```\nboom\n```" in text
    assert "## Second\n\ndone, 4 s\n\n7" in text
    assert [part["state"] for part in json.loads((tmp_path / "gpu_day.json").read_text())["parts"]] == [
        "failed",
        "done",
    ]


def test_what_a_part_wrote_counts_and_nothing_else(tmp_path):
    assert measured(tmp_path, A) == {}
    (tmp_path / "a.json").write_text('{"rows": [1]}')
    assert measured(tmp_path, A) == {"rows": [1]}


def test_the_parts_fit_into_nine_minutes_with_some_left_for_the_search():
    *limited, search = PARTS
    assert search.limit is None
    assert sum(part.limit for part in limited) + search.least <= 9 * 60 + 20
    assert hourly_grid(dry=False)[:3] == [("bf16, CUDA graph", workers) for workers in (8, 4, 1)]
    assert len(neck_settings(gpu=True)) == 18


def test_losses_are_compared_with_those_of_ordinary_steps():
    row = {"precision": "fp32", "seconds": 2.0, "train_seconds": 1.0, "eval_seconds": 0.5, "peak_memory_mb": None}
    row |= {"AP": 1.0, "phases": {"setup": 0.5}}
    rows = [{**row, "step": "ordinary", "losses": [2.0, 1.0]}, {**row, "step": "graph", "losses": [2.0, 1.1]}]
    assert "| fp32 | graph | 2.00 | 1.00 | 0.50 | 0.50 | 0 | 1.0 | 10.00 % |" in step_table(rows)
    assert len(recorded_ap()) == 5


def test_a_public_neck_that_is_not_installed_is_left_out():
    def missing(_: object) -> None:
        raise ImportError

    pair = neck_pairs.PAIRS["FPN (torchvision)"]
    assert importable(pair) is pair
    assert importable(replace(pair, peer=missing)).peer is None


@pytest.mark.slow
def test_a_dry_run_measures_every_part(tmp_path: Path):
    command = [sys.executable, "-m", "experiments.benchmarks.gpu_day", "--dry", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    parts = json.loads((tmp_path / "gpu_day.json").read_text())["parts"]
    assert {part["name"]: part["state"] for part in parts} == dict.fromkeys((part.name for part in PARTS), "done")
    assert all(part["data"]["markdown"] for part in parts)


def test_packed_weights_are_read_again(tmp_path):
    small = [f"data.embedded.{split}=2" for split in ("train", "reward", "test")]
    day = Day(tmp_path, 60, False, (f"data.root={tmp_path / 'signs'}", *small))
    pack(day)
    backbone = day.config().proxy.backbone
    packed = build_backbone(replace(backbone, weights=str(tmp_path / "backbone.pt")))
    assert packed.channels == build_backbone(backbone).channels
    assert (tmp_path / "signs").is_dir()
