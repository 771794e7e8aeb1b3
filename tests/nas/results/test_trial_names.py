"""`RUN_DIR:NUMBER` wherever a trial is named, and what commands say that take something else."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from experiments import signs
from nas.configuration import ConfigError
from nas.data.coco import open_splits
from nas.data.config import DataConfig, SignsConfig
from nas.data.signs import make_signs
from nas.evaluation.evaluate import EvaluationError, open_split
from nas.runs.trial_names import split_name
from nas.training.config import TrainNeckConfig
from nas.training.model import detector_spec
from necks import load_exported
from tests.support.made_up_run import made_up_run


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The data of the run: six classes."""
    root = tmp_path_factory.mktemp("data")
    make_signs(root, SignsConfig(train=4, reward=4, test=2))
    return DataConfig(root=str(root))


@pytest.fixture(scope="module")
def run(tmp_path_factory, data):
    return made_up_run(tmp_path_factory.mktemp("run") / "run", data=data)


def test_a_number_after_the_place_of_a_search_names_a_trial(run, tmp_path):
    directory, *_ = run
    assert split_name(f"{directory.path}:3") == (str(directory.path), 3)
    assert split_name("s3://bucket/run:3") == ("s3://bucket/run", 3)
    for name in (f"{tmp_path}:3", "experiments.signs:search", str(directory.path), f"{directory.path}:x"):
        assert split_name(name) == (name, None)
    (tmp_path / "run:3").symlink_to(directory.path)
    assert split_name(str(tmp_path / "run:3")) == (str(tmp_path / "run:3"), None)


def test_a_trial_is_described_as_its_search_builds_it(run, in_process):
    """Width, repeats, backbone, head, image size and classes; the params of signs' trials are known."""
    directory, *_ = run
    status, said, complained = in_process("describe", f"{directory.path}:1")
    assert (status, complained) == (0, "")
    assert "1 x 32 channels, 256 x 256 px" in said
    assert "neck alone: 0.08 M parameters, 0.02 G multiply-adds" in said
    assert "RetinaNet, efficientnet_lite0, 6 classes: 3.05 M parameters" in said
    wider = in_process("describe", f"{directory.path}:1", "--channels", 64, "--classes", 3, "--backbone", "resnet18")[1]
    assert "1 x 64 channels" in wider
    assert "RetinaNet, resnet18, 3 classes" in wider


def test_a_known_neck_beside_a_trial_is_built_as_the_search_builds_its_own(run, in_process):
    said = in_process("describe", f"{run[0].path}:1", "--compare", "nas_fpn")[1]
    (line,) = [line for line in said.splitlines() if "built as" in line]
    assert line.count("1 x 32 channels") == 2


def test_classes_that_only_absent_data_know_are_not_made_up(tmp_path, in_process):
    directory, *_ = made_up_run(tmp_path / "run", data=DataConfig(root=str(tmp_path / "away")))
    said = in_process("describe", f"{directory.path}:1")[1]
    assert f"RetinaNet: not counted, as the search's data are not in {tmp_path}/away; give --classes" in " ".join(
        said.split()
    )
    assert (
        "RetinaNet, efficientnet_lite0, 4 classes" in in_process("describe", f"{directory.path}:1", "--classes", 4)[1]
    )


def test_export_takes_either_way_to_name_a_trial(run, tmp_path, in_process):
    directory, _, trials = run
    ways = ((f"{directory.path}:1",), (directory.path, "--trial", 1), (f"{directory.path}:1", "--trial", 1))
    for number, words in enumerate(ways):
        status, _, complained = in_process("export", *words, "--output", tmp_path / str(number))
        assert (status, complained) == (0, "")
        assert load_exported(tmp_path / str(number)).genotype == trials[1].candidate.genotype
    status, _, complained = in_process("export", f"{directory.path}:1", "--trial", 2, "--output", tmp_path / "x")
    assert status == 2
    assert "names trial 1, not 2" in complained


def test_rerun_takes_either_way_to_name_a_trial(run, in_process, monkeypatch):
    directory, *_ = run
    monkeypatch.setattr("nas.engine.rerun.train_again", lambda config, trial, start: trial.reward)
    for words in ((f"{directory.path}:1",), (directory.path, 1)):
        status, said, _ = in_process("rerun", *words)
        assert status == 0
        assert said.startswith("trial 1: AP ")
    status, _, complained = in_process("rerun", directory.path)
    assert status == 2
    assert f"name the trial to train again, such as {directory.path}:0" in complained
    assert "there is no trial 99" in in_process("rerun", f"{directory.path}:99")[2]


def test_a_trial_is_trained_by_its_name(run, data):
    directory, _, trials = run
    split = open_splits(data).train
    config = replace(signs.train(), data=data)
    for number in (1, 3, 4):
        named = replace(config, neck=TrainNeckConfig(name=f"{directory.path}:{number}", channels=32))
        assert detector_spec(named, split).neck["genotype"] == json.loads(trials[number].candidate.genotype.to_json())
    with pytest.raises(ConfigError, match=re.escape(f"there is no trial 99; {directory.path} has trials 0..")):
        detector_spec(replace(config, neck=TrainNeckConfig(name=f"{directory.path}:99", channels=32)), split)


@pytest.mark.parametrize("command", ["status", "report", "retrain"])
def test_commands_on_whole_searches_say_so(run, in_process, command):
    status, _, complained = in_process(command, f"{run[0].path}:1")
    assert status == 2
    assert f"is trial 1 of a search; this command takes the search: {run[0].path}\n" in complained


def test_evaluate_says_where_a_detector_is_or_how_to_come_by_one(run, data, tmp_path, in_process):
    (tmp_path / "training" / "model").mkdir(parents=True)
    (tmp_path / "training" / "model" / "detector.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    directory, *_ = run
    no_detector = "and there is no detector in it; train one: nasfpn train EXPERIMENT --neck"
    cases = {
        tmp_path / "training": f"its detector is in {tmp_path}/training/model: give that",
        directory.path: f"is a search, {no_detector} {directory.path}",
        f"{directory.path}:1": f"is a trial, {no_detector} {directory.path}:1",
        directory.trial(1): f"is an exported neck, {no_detector} {directory.trial(1)}",
        tmp_path / "nowhere": f"there is no directory {tmp_path}/nowhere; give one that nasfpn train (DIR/model)",
        tmp_path / "empty": "is not a saved detector",
    }
    files = ("--annotations", f"{data.root}/annotations/instances_test.json", "--images", f"{data.root}/test")
    for place, message in cases.items():
        status, _, complained = in_process("evaluate", place, *files)
        assert status == 2
        assert message in complained
        assert complained.count("\n") == 1


def test_files_and_folders_of_an_evaluation_that_are_not_there_are_named_with_their_options(data, tmp_path):
    annotations, images = Path(data.root) / "annotations" / "instances_test.json", Path(data.root) / "test"
    with pytest.raises(EvaluationError, match=r"there is no file .*gone; give --annotations a COCO instances file"):
        open_split(tmp_path / "gone", images)
    with pytest.raises(EvaluationError, match=r"there is no folder .*gone; give --images the folder"):
        open_split(annotations, tmp_path / "gone")
    assert len(open_split(annotations, images)) == 2


def test_a_trial_is_no_directory_to_search_in(run, in_process):
    directory, *_ = run
    status, _, complained = in_process("search", "experiments.signs:smoke", "--run-dir", f"{directory.path}:5")
    assert (status, complained.count("\n")) == (2, 1)
    assert f"{directory.path}:5 is trial 5 of a search; this command takes the search: {directory.path}\n" in complained
    assert not Path(f"{directory.path}:5").exists()
