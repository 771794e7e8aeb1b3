"""Trackers: what reaches them, and that no run ends because of one."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from nas.commands.search import search
from nas.configuration import ConfigError
from nas.runs.run_directory import RunDirectory
from nas.search.config import SearchConfig
from nas.tracking.services import TRACKERS
from nas.tracking.trackers import Trackers, made, tracked
from search_space import known
from tests.support.own_search import project_in
from tests.support.toy_search import toy_config

OWN = """
import json

class Lines:
    def start(self, run):
        self.file = open(run.directory / "told.jsonl", "a")
        self.write(start=run.id, name=run.name, trials=run.config["trials"])

    def write(self, **what):
        self.file.write(json.dumps(what) + "\\n")
        self.file.flush()

    def log(self, step, metrics):
        self.write(step=step, **metrics)

    def artifact(self, path):
        self.write(artifact=path.name)

    def end(self):
        self.write(end=True)

class Offline(Lines):
    def log(self, step, metrics):
        if step == 2:
            raise ConnectionError("no route to host")
        super().log(step, metrics)

class Half:
    def start(self, run): pass

class Broken:
    def __init__(self): raise OSError("no key")
"""


@pytest.fixture
def project(tmp_path, monkeypatch) -> Iterator[Path]:
    """A project with trackers in `mine.py`, whose code is trusted."""
    monkeypatch.setenv("NASFPN_TRUST_CODE", "1")
    with project_in(tmp_path, monkeypatch, mine=OWN) as directory:
        yield directory


def logged(trackers: Trackers) -> None:
    """What a short search tells."""
    for step, reward in enumerate((10.0, 12.0, math.nan)):
        trackers.log(step, {"reward": reward, "AP": reward, "reward@100": 3.0, "loss": None, "classes": "digits"})


def told(directory: Path) -> list[dict]:
    return [json.loads(line) for line in (directory / "told.jsonl").read_text().splitlines()]


def run_with(names: tuple[str, ...], directory: Path, key: str = "study-1") -> SearchConfig:
    config = toy_config(directory, storage=None)
    with tracked(made(names), config, directory, key) as trackers:
        logged(trackers)
        (directory / "best.svg").write_text("<svg/>")
        trackers.artifact(directory / "best.svg")
        trackers.artifact(directory / "missing.svg")
    return config


def test_numbers_artifacts_and_the_end_reach_a_tracker_of_ones_own(project):
    run_with(("mine.py:Lines",), project)
    start, *steps, artifact, end = told(project)
    assert start["name"] == "toy"
    assert steps == [
        {"step": 0, "reward": 10.0, "AP": 10.0, "reward@100": 3.0},
        {"step": 1, "reward": 12.0, "AP": 12.0, "reward@100": 3.0},
        {"step": 2, "reward@100": 3.0},
    ]
    assert artifact == {"artifact": "best.svg"}
    assert end == {"end": True}


def test_a_later_start_of_the_same_run_has_the_same_id(project):
    run_with(("mine.py:Lines",), project)
    run_with(("mine.py:Lines",), project)
    run_with(("mine.py:Lines",), project, key="study-2")
    first, second, other = (entry["start"] for entry in told(project) if "start" in entry)
    assert first == second != other


def test_a_tracker_that_raises_is_silenced_with_one_warning_and_the_others_go_on(project, capsys):
    run_with(("mine.py:Offline", "mine.py:Lines"), project)
    warnings = [line for line in capsys.readouterr().out.splitlines() if "warning" in line]
    assert len(warnings) == 1
    assert (
        "the tracker mine.py:Offline failed and is told nothing more: ConnectionError: no route to host" in warnings[0]
    )
    assert sum("end" in entry for entry in told(project)) == 1


def test_an_error_of_the_run_comes_out_and_the_trackers_end(project):
    with (
        pytest.raises(KeyboardInterrupt),
        tracked(made(("mine.py:Lines",)), toy_config(project), project, "study"),
    ):
        raise KeyboardInterrupt
    assert told(project)[-1] == {"end": True}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wandbb", "track must be one of tensorboard, wandb, mlflow, or a reference .*, got 'wandbb'"),
        ("mine.py:Half", "track: mine.py:Half is not a tracker: it lacks log, artifact, end"),
        ("mine.py:Broken", "track: mine.py:Broken could not be made: OSError: no key"),
        ("mine.py:Nobody", "track: mine.py has no 'Nobody'"),
    ],
)
def test_what_is_no_tracker_is_refused_before_the_run(project, name, message):
    with pytest.raises(ConfigError, match=message):
        made((name,))


def test_a_package_that_is_missing_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"track: wandb is not installed; pip install 'nas-fpn\[wandb\]'"):
        made(("wandb",))


def test_tensorboard_gets_event_files(tmp_path):
    run_with(("tensorboard",), tmp_path)
    assert any((tmp_path / "tensorboard").iterdir())
    assert list(TRACKERS) == ["tensorboard", "wandb", "mlflow"]


def test_wandb_keeps_a_run_of_an_offline_machine(tmp_path, monkeypatch, capsys):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    run_with(("wandb",), tmp_path)
    assert "warning" not in capsys.readouterr().out
    (kept,) = (tmp_path / "wandb").glob("offline-run-*")
    assert (next(kept.glob("*.wandb"))).stat().st_size > 0


def test_mlflow_has_one_run_per_search_with_its_metrics_and_files(tmp_path, monkeypatch, capsys):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.chdir(tmp_path)
    odd = "AP/speed (60+), 'ä'//"
    with tracked(
        made(("mlflow",)), toy_config(tmp_path, necks={"../my (best)": known.fpn()}), tmp_path, "odd"
    ) as other:
        other.log(0, {odd: 7.0})
    assert "warning" not in capsys.readouterr().out
    (run,) = mlflow.search_runs(experiment_names=["nas-fpn"], output_format="list")
    assert list(run.data.metrics) == ["AP/speed _60___ _ä_"]
    run_with(("mlflow",), tmp_path)
    run_with(("mlflow",), tmp_path)
    assert "warning" not in capsys.readouterr().out
    run, _ = mlflow.search_runs(experiment_names=["nas-fpn"], output_format="list")
    assert run.info.status == "FINISHED"
    assert run.data.metrics["AP"] == 12.0
    assert run.data.metrics["reward at 100"] == 3.0
    assert run.data.params["proxy.steps"] == "50"
    client = mlflow.MlflowClient()
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["best.svg"]


def test_a_search_tells_its_trials_its_report_and_its_best_neck(project, shared_ray):
    search("my_search.py:mine", "run", ["trials=2", "confirm.trainings=0"], None, None, False, ("mine.py:Lines",))
    start, *steps = told(project / "run")
    assert start["trials"] == 2
    assert [entry["step"] for entry in steps if "step" in entry] == sorted({e["step"] for e in steps if "step" in e})
    assert all({"reward", "best", "npu_ms", "score"} <= entry.keys() for entry in steps if "step" in entry)
    assert [entry["artifact"] for entry in steps if "artifact" in entry] == ["index.html", "architecture.svg"]
    assert steps[-1] == {"end": True}
    assert RunDirectory("run").read_config().track == ("mine.py:Lines",)
