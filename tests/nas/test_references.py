"""Objects by reference: what text they become, and what they are when they are loaded again."""

from __future__ import annotations

import sys
from functools import partial

import pytest

from nas.configuration import ConfigError, from_dict, override, to_dict
from nas.data.config import DataConfig
from nas.experiment import load_experiment
from nas.references import call, load_object
from nas.search.config import ControllerConfig, SearchConfig, TaskConfig
from search_space import NasFpnSpace, references
from search_space.references import reference_of
from tests.support.own_search import project_in


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project whose code is trusted."""
    monkeypatch.setenv("NASFPN_TRUST_CODE", "1")
    with project_in(tmp_path, monkeypatch) as directory:
        yield directory


def test_objects_in_a_configuration_become_references_to_their_file(project):
    config = load_experiment("my_search.py:mine")
    assert config.task.name == "my_search.py:CountSums"
    assert config.controller.name == "my_search.py:HillClimbing"
    assert config.space.name == "my_search.py:space"
    assert config.reward.objective == "my_search.py:per_millisecond"
    assert config.costs == ("my_search.py:npu",)
    assert from_dict(SearchConfig, to_dict(config)) == config


def test_an_object_of_a_module_is_referred_to_by_the_module():
    assert reference_of(NasFpnSpace) == "search_space.nas_fpn:NasFpnSpace"
    assert load_object("search_space.nas_fpn:NasFpnSpace") is NasFpnSpace


def test_an_object_of_a_module_beside_the_file_is_referred_to_by_its_own_file(project):
    (project / "helpers.py").write_text("def train(genotype, seed, callbacks):\n    return {}\n")
    (project / "my_search.py").write_text("from helpers import train\n")
    train = load_object("my_search.py:train")
    assert reference_of(train) == "helpers.py:train"
    assert load_object("helpers.py:train") is train


def test_a_reference_loads_the_object_of_the_file_that_is_loaded(project):
    load_experiment("my_search.py:mine")
    assert load_object("my_search.py:space") is sys.modules["my_search"].space


def test_workers_in_other_directories_look_in_that_of_the_search(project, monkeypatch):
    monkeypatch.setattr(references, "_places", [])
    references.trust(["my_search.py:space", "helpers:twice"])
    (project / "helpers.py").write_text("def twice(x):\n    return 2 * x\n")
    monkeypatch.chdir("/")
    with pytest.raises(ConfigError, match=r"no file my_search.py"):
        load_object("my_search.py:space")
    references.look_in(project)
    assert load_object("my_search.py:space")((3, 4, 5)).size() > 0
    assert load_object("helpers:twice")(3) == 6


def test_code_that_nobody_said_to_trust_is_not_loaded(project, monkeypatch):
    (project / "theirs.py").write_text(
        "open('run', 'w').close()\ndef task(genotype, seed, callbacks):\n    return {}\n"
    )
    monkeypatch.delenv("NASFPN_TRUST_CODE")
    with pytest.raises(ConfigError, match=r"theirs.py:task names code that is not trusted; .* NASFPN_TRUST_CODE=1"):
        load_object("theirs.py:task")
    assert not (project / "run").exists()
    monkeypatch.setenv("NASFPN_TRUST_CODE", "1")
    assert callable(load_object("theirs.py:task"))
    sys.modules.pop("theirs")


@pytest.mark.parametrize("value", [lambda: None, partial(print), 3, None])
def test_what_no_other_process_can_import_is_refused(value):
    with pytest.raises(ConfigError, match=r"task.name: must be a name, a reference such as .* at the top of a module"):
        from_dict(SearchConfig, {"name": "mine", "task": {"name": value}})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.py:train", "no file nowhere.py"),
        ("no_such_module:train", "no module 'no_such_module'"),
        ("my_search.py:tran", "my_search.py has no 'tran'; it has .*CountSums.*mine"),
        ("my_search.py:", "'my_search.py:' is not a reference: write module:attribute"),
        ("broken.py:train", r"broken.py:train cannot be loaded: ZeroDivisionError: division by zero"),
        ("needy.py:train", r"needy.py:train cannot be loaded: ModuleNotFoundError: No module named 'not_installed'"),
    ],
)
def test_references_that_lead_nowhere_are_named_in_one_line(project, name, message):
    (project / "broken.py").write_text("1 / 0\n")
    (project / "needy.py").write_text("import not_installed\n")
    with pytest.raises(ConfigError, match=message) as caught:
        load_object(name)
    assert "\n" not in str(caught.value)


def test_a_call_that_does_not_fit_says_what_is_taken(project):
    with pytest.raises(
        ConfigError, match=r"my_search.py:npu\(genotype, neck\) does not take the arguments of its call: .*'neck'"
    ):
        call("my_search.py:npu", None)
    (project / "my_search.py").write_text("LIMIT = 3\n")
    sys.modules.pop("my_search", None)
    with pytest.raises(ConfigError, match=r"my_search.py:LIMIT is of type int, which cannot be called"):
        call("my_search.py:LIMIT")


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("task.name=prxy", "task must be proxy, or a reference such as my_file.py:MyTask, got 'prxy'"),
        ("controller.name=evolutoin", "controller must be one of random, .*, or a reference"),
        ("costs=[latency]", "costs are references such as my_file.py:latency, got latency"),
        ('constraints.max_costs={"npu_ms": 3}', "constraints.max_costs limits costs of your own"),
        (
            "reward.cost=flops",
            "reward.cost must be one of params, macs, latency_ms, or a cost that a function of costs",
        ),
        ("reward.metric=mAP", "reward.metric must be an average precision of the proxy task"),
        ("task.options.lr=1", "the task proxy has no options"),
        ("data=null", "data is missing: the proxy task needs a data set"),
    ],
)
def test_names_that_are_nothing_say_what_is_taken(assignment, message):
    config = SearchConfig(name="mine", data=DataConfig(root="data"))
    with pytest.raises(ConfigError, match=message):
        override(config, [assignment])


def test_a_task_of_ones_own_needs_no_data_and_any_metric():
    config = SearchConfig(name="mine", task=TaskConfig(name="mine.py:Task"))
    assert config.data is None
    assert override(config, ["reward.metric=accuracy", "reward.cost=joules"]).reward.metric == "accuracy"
    assert ControllerConfig(name="mine.py:Hill").name == "mine.py:Hill"
