"""Searches and trainings rely on data that was checked in full, and say how to check it."""

from __future__ import annotations

import json
import shutil

import pytest
from PIL import Image

from nas.configuration import to_dict
from nas.data.config import DataConfig, SignsConfig
from nas.data.signs import make_signs

EXPERIMENT = """
from dataclasses import replace
from pathlib import Path
from experiments import signs
from nas.data.config import DataConfig, SplitConfig

def split(name):
    return SplitConfig(annotations=f"annotations/instances_{name}.json", images=name)

def data():
    return DataConfig(root="set", train=split("reward"), reward=split("train"), test=None)

def mine():
    return replace(signs.smoke(), data=data())

def full():
    return replace(signs.train(), data=data())
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made") / "set"
    make_signs(root, SignsConfig(train=6, reward=6, test=1))
    return root


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    """The directory of commands, with a data set whose splits are not the usual ones and an experiment on it."""
    shutil.copytree(made, tmp_path / "set")
    (tmp_path / "my.py").write_text(EXPERIMENT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def spoil(place):
    path = next((place / "set" / "train").iterdir())
    path.write_bytes(path.read_bytes()[:500])


@pytest.mark.parametrize(("command", "experiment"), [("search", "my.py:mine"), ("train", "my.py:full")])
def test_an_image_that_cannot_be_read_refuses_before_any_work_and_says_the_command(
    place, in_process, command, experiment
):
    spoil(place)
    status, shown, errors = in_process(command, experiment, "--run-dir", "run", "--set", "data.split_seed=3")
    assert status == 2
    assert "cannot be read" in shown
    line = "set has errors (1, above); fix them, then run: nasfpn data check my.py:"
    assert line in errors
    advice = errors.strip().partition("then run: nasfpn ")[2].split()
    assert advice == ["data", "check", experiment, "--set", "split_seed=3"]
    status, shown, _ = in_process(*advice)
    assert status == 1
    assert "error [reward]" in shown
    assert shown.endswith("set: errors: 1, warnings: 0\n")


def test_the_data_of_a_run_can_be_checked(place, in_process):
    from experiments import signs

    config = signs.smoke()
    (place / "run").mkdir()
    record = {"config": {**to_dict(config), "data": to_dict(DataConfig(root="set"))}}
    (place / "run" / "config.json").write_text(json.dumps(record))
    spoil(place)
    status, shown, _ = in_process("data", "check", "run")
    assert status == 1
    assert "error [train]" in shown


def test_a_data_set_with_a_config_of_its_own_is_no_run(place, in_process):
    (place / "set" / "config.json").write_text("{}")
    status, shown, _ = in_process("data", "check", "set")
    assert status == 0
    assert "set: errors: 0" in shown


def test_what_is_no_configuration_is_told(place, in_process):
    status, _, errors = in_process("data", "check", "my.py:data")
    assert (status, errors.count("\n")) == (2, 1)
    assert "must return a SearchConfig or TrainConfig, it returned DataConfig" in errors


def test_categories_are_chosen_on_the_command_line(place, in_process):
    listed = json.loads((place / "set/annotations/instances_train.json").read_text())["categories"]
    first, *_, last = [each["name"] for each in listed]
    status, shown, _ = in_process("data", "check", "my.py:mine", "--set", f'categories=["{first}"]')
    assert status == 0
    status, shown, _ = in_process("data", "check", "my.py:mine", "--set", f'categories=["{first}", "nothing"]')
    assert status == 1
    assert "data.categories names 'nothing', but the categories of" in shown
    assert repr(last) in shown


def test_pictures_of_sixteen_bits_have_a_setting(place, in_process):
    for path in (place / "set" / "train").iterdir():
        with Image.open(path) as image:
            deep = image.convert("L").convert("I").point(lambda v: 51200 + 4 * v).convert("I;16")
        deep.save(path)
    status, shown, _ = in_process("data", "check", "my.py:mine")
    assert status == 0
    assert shown.count("warning [reward]") == 1
    setting = shown.partition("set data.")[2].splitlines()[0]
    status, shown, _ = in_process("data", "check", "my.py:mine", "--set", setting)
    assert (status, shown.count("warning")) == (0, 1)
