"""The command as users type it, in processes of its own: a whole search, and one line for what they can mend."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nas.configuration import override
from nas.data.config import SignsConfig
from nas.data.signs import make_signs
from nas.experiment import load_experiment
from nas.runs.journal import Journal
from necks import MergeNeck, load_exported

SMOKE = ("search", "experiments.signs:smoke", "--run-dir", "r")
SMALL = SignsConfig(train=16, reward=8, test=2)


def nasfpn(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-c", "from nasfpn.command import main; main()", *map(str, arguments)]
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
    assert [line[:7] for line in lines] == [f"[  {number}/9]" for number in range(1, 10)]
    assert all("AP" in line for line in lines)
    assert sorted(line.split("] ")[1].split()[:2] for line in lines) == [["trial", str(number)] for number in range(9)]
    for label in ("evolution, best of 2", "random, best of 1", "fpn", "nas_fpn", "k params", "M MACs", "ms"):
        assert label in done.stdout
    assert "Confirmation: AP of 4 fresh trainings" in done.stdout
    assert "Traceback" not in done.stderr


def test_everything_lies_in_the_run_directory(finished):
    run_dir, _ = finished
    names = {path.name for path in run_dir.iterdir()}
    assert names == {"config.json", "journal.log", "search.lock", "search.log", "trials", "best", "report"}
    neck = load_exported(run_dir / "best")
    assert list(neck(maps_for(neck))) == ["p3", "p4", "p5", "p6", "p7"]
    assert "<dt>state</dt><dd>finished</dd>" in (run_dir / "report" / "index.html").read_text()


def test_status_report_and_export_of_the_finished_run(finished, tmp_path, in_process):
    run_dir, _ = finished
    now = json.loads(in_process("status", run_dir, "--json")[1])
    assert (now["state"], now["finished"], now["failed"], now["running"]) == ("finished", 9, 0, 0)
    assert now["confirmed"]["trainings"] == 4
    assert "9 of 9 finished" in in_process("status", run_dir)[1]
    assert in_process("report", run_dir)[0] == 0
    assert in_process("export", run_dir, "--output", tmp_path / "neck", "--trial", 1)[0] == 0
    exported, trained = load_exported(tmp_path / "neck"), load_exported(run_dir / "trials" / "0001")
    maps = maps_for(trained)
    for ours, theirs in zip(exported(maps).values(), trained(maps).values(), strict=True):
        assert torch.equal(ours, theirs)
    shown = in_process("describe", tmp_path / "neck")[1]
    assert "afe5316ec3df9f6f, 1 x 32 channels" in shown
    assert "RetinaNet" not in shown


@pytest.mark.usefixtures("one_ray")
def test_a_finished_run_is_extended_and_a_trial_of_it_trained_again(finished, tmp_path, in_process):
    run_dir = Path(shutil.copytree(finished[0], tmp_path / "copy"))
    before = Journal(run_dir / "journal.log").trials()
    status, shown, errors = in_process("extend", run_dir, "--trials", "+1", "--tensorboard")
    assert status == 0, errors
    assert "5 trials to go" in shown, "one candidate, and a confirmation for it, of which parts may be there already"
    assert "CPU-minutes on up to " in shown
    trials = Journal(run_dir / "journal.log").trials()
    assert trials[: len(before)] == before
    assert trials[len(before)].candidate.origin == "search"
    assert all(trial.candidate.confirms is not None for trial in trials[len(before) + 1 :])
    assert list((run_dir / "tensorboard").iterdir())
    status, out, _ = in_process("rerun", run_dir, len(trials) - 1)
    assert (status, out.split(": ")[-1].strip()) == (0, "the same")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("extend", "--trials", "-1"), "--trials takes +N for N more candidates, or a number of at least the 2"),
        (("extend", "--trials", "1"), "--trials takes +N for N more candidates"),
        (("extend", "--trials", "+x"), "--trials takes +N for N more candidates"),
        (("rerun", "99"), "there is no trial 99"),
    ],
)
def test_extend_and_rerun_say_what_they_take(finished, in_process, arguments, message):
    command, *rest = arguments
    status, _, errors = in_process(command, finished[0], *rest)
    assert status == 2
    assert message in errors


@pytest.mark.usefixtures("one_ray")
def test_the_best_are_trained_in_full_once_and_scored_on_the_test_split(finished, tmp_path, in_process):
    run_dir = Path(shutil.copytree(finished[0], tmp_path / "copy"))
    command = ("retrain", run_dir, "--top", 1, "--seeds", 2, "--longer", 0.5, "--workers", 2, "--neck", "efm")
    status, shown, errors = in_process(*command)
    assert status == 0, errors
    assert "10 trainings, 10 of them to do" in shown
    record = json.loads((run_dir / "final" / "final.json").read_text())
    assert record["steps"] == 4
    assert {entry["group"] for entry in record["standings"]} == {"found", "known", "random"}
    assert [len(entry["AP"]) for entry in record["standings"]] == [2] * 5
    assert [entry["genotype"] for entry in record["standings"] if entry["neck"] == "efm"] == ["efm"]
    assert {path.name for path in (run_dir / "final").glob("*.png")} == {"final.png", "found_1.png"}
    lines = [json.loads(line) for line in (run_dir / "final" / "trainings.jsonl").read_text().splitlines()]
    assert {line["split"] for line in lines} == {"test"}

    status, shown, _ = in_process(*command)
    assert (status, "10 trainings, 0 of them to do" in shown) == (0, True)
    assert in_process("report", run_dir)[0] == 0
    assert "scored on the test split" in (run_dir / "report" / "index.html").read_text()


def test_resume_begins_nothing(tmp_path, in_process):
    status, _, errors = in_process("search", "experiments.signs:smoke", "--run-dir", tmp_path / "new", "--resume")
    assert status == 2
    assert "holds no search" in errors
    assert not (tmp_path / "new").exists()


def test_the_same_command_on_other_settings_is_refused_in_one_line(finished, in_process):
    run_dir, _ = finished
    status, _, errors = in_process("search", "experiments.signs:smoke", "--run-dir", run_dir)
    assert status == 2
    assert "belongs to a search with other settings" in errors
    assert len(errors.strip().splitlines()) == 1


def test_describe_prints_the_published_counts(in_process):
    _, shown, _ = in_process("describe", "nas_fpn")
    assert "60.04 M parameters, 140.08 G multiply-adds" in shown
    assert "afe5316ec3df9f6f" in shown
    assert "34.05 M parameters, 96.70 G multiply-adds" in in_process("describe", "fpn")[1]


def test_describe_compares_all_nine_designs(in_process):
    _, shown, _ = in_process("describe", "--table", "--backbone", "resnet10", "--channels", "32", "--size", "128")
    names = ("fpn@", "panet@", "pafpn@", "nas_fpn@", "bifpn@", "balanced_fpn", "mlfpn", "asff", "efm")
    assert all(name in shown for name in names)
    assert "32 channels, P3..P7, 128 x 128 px" in shown


def test_another_controller_forgets_the_options_of_the_first(in_process, tmp_path):
    data = ["--set", "data.embedded=null", "--set", "data.root=nothing_here"]
    command = ("search", "experiments.signs:search", "--run-dir", tmp_path / "r", "--controller", "random")
    assert "nothing_here" in in_process(*command, *data)[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["status", "nowhere"], "holds no search"),
        (["report", "nowhere"], "holds no search"),
        (["describe", "fpnn"], "neither a known neck"),
        (["describe"], "give either the name of a neck or --table, not both"),
        (["describe", "fpn", "--table"], "give either the name of a neck or --table, not both"),
        (["describe", "--table", "--channels", "36"], "out_channels must be a multiple of 2"),
        (["describe", "asff@yolov3"], "must all be equally wide"),
        (["describe", "fpn", "--backbone", "resnet51"], "resnet50"),
        (["data", "make", "sings"], "available: signs"),
        (["data", "check", "experiments.signs:serch"], "it has long, recipe, search, smoke"),
        ([*SMOKE, "--set", "proxy.stesp=3"], "did you mean 'steps'"),
        ([*SMOKE, "--controller", "annealing"], "must be one of random"),
        ([*SMOKE, "--set", "space.num_cells=3"], "at least the number"),
        ([*SMOKE, "--set", "controller.options.population=3"], "population"),
        ([*SMOKE, "--set", "reward.objective=mnasnet"], "target"),
        ([*SMOKE, "--set", "space.name=pyramid", "--set", "space.num_cells=7"], "num_cells"),
        ([*SMOKE, "--set", "proxy.neck.levels=[3,5]"], "without a gap"),
        ([*SMOKE, "--set", "proxy.neck.levels=[2,3,4,5]"], "must begin with backbone.levels (3, 4, 5)"),
        ([*SMOKE, "--set", "proxy.neck.channels=36", "--set", "proxy.head.norm=true"], "divisible by 8, got 36"),
        ([*SMOKE, "--set", "proxy.device=gpu"], "proxy.device"),
        ([*SMOKE, "--set", "data.embedded=null", "--set", "data.root=nothing_here"], "nothing_here"),
    ],
)
def test_what_users_can_mend_is_one_line(arguments, message, tmp_path, in_process, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, errors = in_process(*arguments)
    assert status == 2
    assert message in errors
    assert errors.startswith("error: ")
    assert len(errors.strip().splitlines()) == 1
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("command", "experiment"),
    [
        ("search", "nasfpn.signs:smoke"),
        ("submit", "nasfpn.signs:smoke"),
        ("train", "nasfpn.signs:train"),
        ("reproduce", "nasfpn.coco:nas_fpn"),
        ("reproduce", "nasfpn.coco:search"),
    ],
)
def test_the_setting_that_help_names_can_be_set(command, experiment, in_process):
    """Beside `--set`, such as `proxy.steps=600`."""
    text = re.sub(r"[\s│]+", " ", in_process(command, "--help")[1])
    config = load_experiment(experiment)
    assert override(config, [re.search(r"Set any field, such as (\S+)\.", text)[1]]) != config


def test_a_mistake_in_an_experiment_file_is_one_line(tmp_path, in_process):
    path = tmp_path / "my_search.py"
    path.write_text(
        "from dataclasses import replace\nfrom experiments.signs import smoke\n"
        "def typo():\n    return replace(smoke(), trails=3)\n"
        "def wrong():\n    return replace(smoke(), trials=0)\n"
        "def other():\n    return {}\n"
    )
    for function, message in (("typo", "trails"), ("wrong", "greater than or equal to 1"), ("other", "SearchConfig")):
        status, _, errors = in_process("search", f"{path}:{function}", "--run-dir", tmp_path / "r")
        assert status == 2
        assert message in errors
        assert len(errors.strip().splitlines()) == 1


def broken_data(root: Path, kind: str) -> None:
    make_signs(root, SMALL)
    annotations = root / "annotations" / "instances_train.json"
    content = json.loads(annotations.read_text())
    if kind == "missing image":
        (root / "train" / content["images"][3]["file_name"]).unlink()
    elif kind == "torn annotations":
        annotations.write_text(annotations.read_text()[:500])
        return
    elif kind == "torn image":
        path = root / "train" / content["images"][3]["file_name"]
        path.write_bytes(path.read_bytes()[:500])
    elif kind == "box outside":
        content["annotations"][0]["bbox"] = [400, 400, 20, 20]
    elif kind == "nothing to score":
        annotations = root / "annotations" / "instances_reward.json"
        content = {**json.loads(annotations.read_text()), "annotations": []}
    annotations.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing image", "does not exist"),
        ("torn annotations", "instances_train.json"),
        ("torn image", "cannot be read"),
        ("box outside", "outside"),
        ("nothing to score", "no candidate can be scored"),
    ],
)
def test_broken_data_stops_a_search_before_it_costs_anything(kind, message, tmp_path, in_process):
    root = tmp_path / "data"
    broken_data(root, kind)
    arguments = sets(data__root=root, data__embedded="null", proxy__steps=2)
    command = ("search", "experiments.signs:smoke", "--run-dir", tmp_path / "run", *arguments)
    status, shown, errors = in_process(*command)
    assert status == 2
    assert message in shown + errors
    assert not (tmp_path / "run").exists()
    status, shown, _ = in_process("data", "check", root)
    assert status == 1
    assert message in shown
