"""A run directory and an exported neck that version 794edef wrote (`run_of_794edef`, its command in `config.json`)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from nas.engine.scheduler import TrialScheduler
from nas.runs.journal import open_journal
from nas.runs.run_directory import RunDirectory
from necks import load_exported

OLD = Path(__file__).parent / "run_of_794edef"
SUMS = {"p3": 709.41487, "p4": 95.988856, "p5": -331.586907, "p6": 0.331372, "p7": -3.591507}
"""Of the maps that the version itself gave for ones."""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A copy, in a directory of its own."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(OLD, tmp_path / "old")
    return RunDirectory(tmp_path / "old")


def test_its_configuration_means_what_it_meant(run):
    config = run.read_config()
    assert (config.trials, config.random_trials, config.known) == (2, 1, ("fpn",))
    assert config.confirm.trainings == 0
    assert config.random_budget == "trials"
    assert config.known_width == config.candidate_width == "same"
    assert (config.inherit.is_on, config.proxy.precision) == (False, "fp32")


def test_its_journal_is_read_and_nothing_is_left_to_do(run):
    trials = open_journal(run).trials()
    assert [trial.candidate.origin for trial in trials] == ["known:fpn", "random", "search", "search"]
    assert {trial.state for trial in trials} == {"complete"}
    with run.claim(run.read_config()):
        scheduler = TrialScheduler(run.read_config(), open_journal(run, writable=True), lambda trial: None)
        assert scheduler.left == 0
        assert scheduler.next() is None


def test_commands_take_it(run, in_process):
    status, said, errors = in_process("status", run.path, "--json")
    assert (status, errors) == (0, "")
    assert json.loads(said)["finished"] == 4
    assert in_process("report", run.path)[0] == 0
    assert (run.report / "index.html").stat().st_size > 10_000
    status, said, errors = in_process("describe", f"{run.path}:1")
    assert (status, errors) == (0, "")
    assert "random" in said
    status, _, errors = in_process("export", f"{run.path}:1", "--output", "neck")
    assert (status, errors) == (0, "")


def test_its_exported_neck_computes_what_it_did(run):
    neck = load_exported(run.trial(1))
    sizes = zip((3, 4, 5), neck.in_channels, strict=True)
    maps = {f"c{level}": torch.ones(1, width, 2 ** (8 - level), 2 ** (8 - level)) for level, width in sizes}
    with torch.no_grad():
        sums = {name: float(x.double().sum()) for name, x in neck(maps).items()}
    assert sums == pytest.approx(SUMS, rel=1e-4)
