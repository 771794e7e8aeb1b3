"""The command as users type it, in processes of its own: a whole search, and one line for what they can mend."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nas.data.config import DataConfig, SignsConfig
from nas.data.signs import make_signs
from necks import MergeNeck, load_exported

SMOKE = ("search", "experiments.signs:smoke", "--run-dir", "r")
SMALL = SignsConfig(train=16, reward=8, test=2)


def nasfpn(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from nas.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=280, check=False)


def maps_for(neck: MergeNeck) -> dict[str, torch.Tensor]:
    levels = zip(neck.in_levels, neck.in_channels, strict=True)
    return {f"c{level}": torch.randn(1, count, 64 >> level, 64 >> level) for level, count in levels}


def sets(**fields: object) -> list[str]:
    return [word for path, value in fields.items() for word in ("--set", f"{path.replace('__', '.')}={value}")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    home = tmp_path_factory.mktemp("home")
    arguments = sets(
        data__root=home / "data",
        data__embedded='{"train": 16, "reward": 8, "test": 2}',
        proxy__steps=8,
        random_trials=1,
    )
    run_dir = home / "run"
    done = nasfpn("search", "experiments.signs:smoke", "--run-dir", run_dir, "--trials", 2, *arguments)
    assert done.returncode == 0, done.stderr
    return run_dir, done


def test_a_search_prints_a_line_per_trial_and_a_closing_table(finished):
    _, done = finished
    lines = [line for line in done.stdout.splitlines() if line.startswith("[")]
    assert len(lines) == 5
    assert all("AP" in line for line in lines)
    for label in ("evolution, best of 2", "random, best of 1", "fpn", "nas_fpn", "params (k)", "latency (ms)"):
        assert label in done.stdout
    assert "Traceback" not in done.stderr


def test_everything_lies_in_the_run_directory(finished):
    run_dir, _ = finished
    names = {path.name for path in run_dir.iterdir()}
    assert {"config.json", "journal.log", "trials", "best", "report"} <= names
    neck = load_exported(run_dir / "best")
    maps = {
        f"c{level}": torch.randn(1, count, 64 >> level, 64 >> level)
        for level, count in zip((3, 4, 5), neck.in_channels, strict=True)
    }
    assert list(neck(maps)) == ["p3", "p4", "p5", "p6", "p7"]


def test_status_report_and_export_of_the_finished_run(finished, tmp_path):
    run_dir, _ = finished
    now = json.loads(nasfpn("status", run_dir, "--json").stdout)
    assert (now["state"], now["finished"], now["failed"], now["running"]) == ("finished", 5, 0, 0)
    assert "5 of 5 finished" in nasfpn("status", run_dir).stdout
    assert nasfpn("report", run_dir).returncode == 0
    assert nasfpn("export", run_dir, "--output", tmp_path / "neck", "--trial", 1).returncode == 0
    exported, trained = load_exported(tmp_path / "neck"), load_exported(run_dir / "trials" / "0001")
    maps = {
        f"c{level}": torch.randn(1, count, 9, 7) for level, count in zip((3, 4, 5), trained.in_channels, strict=True)
    }
    for ours, theirs in zip(exported(maps).values(), trained(maps).values(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_same_command_on_other_settings_is_refused_in_one_line(finished):
    run_dir, _ = finished
    done = nasfpn("search", "experiments.signs:smoke", "--run-dir", run_dir)
    assert done.returncode == 2
    assert "belongs to a search with other settings" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_describe_prints_the_published_counts():
    shown = nasfpn("describe", "nas_fpn").stdout
    assert "60.04 M parameters, 140.08 G multiply-adds" in shown
    assert "afe5316ec3df9f6f" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["status", "nowhere"], "holds no search"),
        (["report", "nowhere"], "holds no search"),
        (["describe", "fpnn"], "neither a known neck"),
        (["describe", "fpn", "--backbone", "resnet51"], "resnet50"),
        (["data", "make", "sings"], "there is: signs"),
        ([*SMOKE, "--set", "proxy.stesp=3"], "did you mean 'steps'"),
        ([*SMOKE, "--controller", "ppo"], "must be one of random"),
        ([*SMOKE, "--set", "space.num_cells=3"], "at least the number"),
        ([*SMOKE, "--set", 'controller.options={"population": 3}'], "population"),
        ([*SMOKE, "--set", "data.embedded=null", "--set", "data.root=nothing_here"], "nothing_here"),
    ],
)
def test_what_users_can_mend_is_one_line(arguments, message, tmp_path):
    done = nasfpn(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir()) or not (tmp_path / "r" / "journal.log").exists()


def broken_data(root: Path, kind: str) -> None:
    make_signs(root, SMALL)
    annotations = root / "annotations" / "instances_train.json"
    content = json.loads(annotations.read_text())
    if kind == "missing image":
        (root / "train" / content["images"][3]["file_name"]).unlink()
    elif kind == "torn annotations":
        annotations.write_text(annotations.read_text()[:500])
        return
    elif kind == "empty class":
        content["categories"].append({"id": 99, "name": "ghost"})
    elif kind == "box outside":
        content["annotations"][0]["bbox"] = [400, 400, 20, 20]
    annotations.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing image", "missing"),
        ("torn annotations", "instances_train.json"),
        ("empty class", "ghost"),
        ("box outside", "outside"),
    ],
)
def test_broken_data_stops_a_search_before_it_costs_anything(kind, message, tmp_path):
    root = tmp_path / "data"
    broken_data(root, kind)
    assert DataConfig(root=str(root)).embedded is None
    arguments = sets(data__root=root, data__embedded="null", proxy__steps=2)
    done = nasfpn("search", "experiments.signs:smoke", "--run-dir", tmp_path / "run", *arguments)
    assert done.returncode == 2
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "journal.log").exists()
    checked = nasfpn("data", "check", root)
    assert checked.returncode == 1
    assert message in checked.stdout
