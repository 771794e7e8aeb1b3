"""Tasks, costs, rewards, controllers, spaces and necks of a user's own, named by reference."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace

import pytest
import torch

from nas.commands.runs import make_report, rerun_trial
from nas.commands.search import extend, search
from nas.configuration import ConfigError, override
from nas.engine.callbacks import SearchCallbacks
from nas.engine.task import configured_task, require_references
from nas.engine.trial import Rejected, Scored, TrialRequest
from nas.engine.worker import run_trial
from nas.experiment import load_experiment
from nas.runs.journal import open_journal
from nas.runs.own_code import UntrustedError
from nas.runs.run_directory import RunDirectory
from nas.search.config import SearchConfig, TaskConfig, build_space
from nas.search.proposing import build_controller
from nas.search.records import SEARCH, Candidate
from nas.workers.answers import Failed
from necks.exported import read_genotype
from search_space import known, references
from tests.support.own_search import project_in

BODY = "def train(genotype, seed, callbacks):\n    return {returned}\n"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project whose code is trusted."""
    monkeypatch.setenv("NASFPN_TRUST_CODE", "1")
    with project_in(tmp_path, monkeypatch) as directory:
        yield directory


def answer(config: SearchConfig, origin: str = SEARCH):
    """What becomes of a trial of FPN."""
    request = TrialRequest(number=3, candidate=Candidate(origin=origin, genotype=known.fpn(), proposal=1), seed=3)
    return run_trial(configured_task(config), config, request, SearchCallbacks(config, request))


def of_function(project, body: str, **changes) -> SearchConfig:
    (project / "bad.py").write_text(body)
    sys.modules.pop("bad", None)
    return SearchConfig(name="mine", task=TaskConfig(name="bad.py:train", **changes))


def test_a_class_is_made_from_the_configuration_and_its_options(project):
    scored = answer(replace(load_experiment("my_search.py:mine"), constraints=replace_limit(99)))
    assert isinstance(scored, Scored)
    assert 9 < scored.metrics["score"] < 11
    assert scored.metrics["npu_ms"] == pytest.approx(2.6)


def replace_limit(bound: float):
    return override(load_experiment("my_search.py:mine"), [f"constraints.max_costs.npu_ms={bound}"]).constraints


def test_a_function_is_a_task(project):
    config = override(load_experiment("my_search.py:mine"), ["task.name=my_search.py:count_inputs", "task.options={}"])
    assert answer(config).metrics["score"] == 13.0


def test_a_candidate_over_a_limit_on_a_cost_of_ones_own_is_rejected(project):
    config = replace(load_experiment("my_search.py:mine"), constraints=replace_limit(2.5))
    assert answer(config) == Rejected({"npu_ms": pytest.approx(2.6)})
    assert isinstance(answer(config, "known:fpn"), Scored)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("None", "the task's metrics must be a mapping of names to numbers, got None"),
        ("3.0", "the task's metrics must be a mapping of names to numbers, got 3.0"),
        ("{'loss': 1.0}", "AP was not measured"),
        ("{'AP': 'high'}", "AP must be a number or None, got 'high'"),
        ("{'AP': float('nan')}", "AP is nan; it must be a finite number"),
        ("{3: 1.0}", "names of metrics must be text, got 3"),
        ("1 / 0", "ZeroDivisionError: division by zero (bad.py:2)"),
    ],
)
def test_what_a_task_may_not_return_fails_the_trial_with_a_reason(project, returned, message):
    failed = answer(of_function(project, BODY.format(returned=returned)))
    assert isinstance(failed, Failed)
    assert message in failed.error


def test_a_metric_of_ones_own_must_be_finite_where_it_is_the_reward(project):
    config = of_function(project, BODY.format(returned="{'score': float('inf')}"))
    failed = answer(override(config, ["reward.metric=score"]))
    assert failed == Failed("score is inf; it must be a finite number")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "def train(genotype):\n    return {}\n",
            r"task.name: bad.py:train\(genotype\) does not take the arguments of its call",
        ),
        ("class train:\n    pass\n", r"task.name: bad.py:train\(\) does not take the arguments of its call"),
        ("class train:\n    def __init__(self, config): pass\n", "task.name: bad.py:train has no method run"),
        (
            "class train:\n    def __init__(self, config): pass\n    def run(self, genotype): pass\n",
            r"task.name: bad.py:train.run\(self, genotype\) does not take the arguments of its call",
        ),
        ("train = 3\n", "task.name: bad.py:train is of type int, which cannot be called"),
    ],
)
def test_what_is_no_task_is_refused_before_the_search(project, body, message):
    with pytest.raises(ConfigError, match=message):
        require_references(of_function(project, body))


def test_a_task_that_cannot_be_made_says_why(project):
    body = (
        "class train:\n    def __init__(self, config): raise OSError('no camera')\n    def run(self, g, s, c): pass\n"
    )
    with pytest.raises(ConfigError, match=r"task.name: bad.py:train could not be made: OSError: no camera"):
        configured_task(of_function(project, body))


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("1 / 0", "the cost bad.py:cost failed: ZeroDivisionError: division by zero"),
        ("3.0", "the cost bad.py:cost must return a mapping of names to numbers, it returned 3.0"),
        ("{'npu_ms': 'slow'}", "must return finite numbers of 0 or more, its npu_ms is 'slow'"),
        ("{'npu_ms': -1}", "must return finite numbers of 0 or more, its npu_ms is -1"),
        ("{'macs': 1}", "the cost bad.py:cost returned 'macs'; a cost needs a name"),
        ("{'a/b': 1}", "the cost bad.py:cost returned 'a/b'; a cost needs a name"),
        ("{'joules': 1}", "constraints.max_costs limits 'npu_ms'; the functions of costs returned joules"),
    ],
)
def test_a_cost_that_fails_fails_the_trial_with_a_reason(project, returned, message):
    (project / "bad.py").write_text(f"def cost(genotype, neck):\n    return {returned}\n")
    failed = answer(override(load_experiment("my_search.py:mine"), ["costs=[bad.py:cost]"]))
    assert isinstance(failed, Failed)
    assert message in failed.error


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("metrics['AP']", "the reward bad.py:reward failed: KeyError: 'AP'"),
        ("None", "the reward bad.py:reward must return a finite number, it returned None"),
        ("float('nan')", "the reward bad.py:reward must return a finite number, it returned nan"),
    ],
)
def test_a_reward_that_fails_fails_the_trial_with_a_reason(project, returned, message):
    (project / "bad.py").write_text(f"def reward(metrics):\n    return {returned}\n")
    config = override(load_experiment("my_search.py:mine"), ["reward.objective=bad.py:reward"])
    failed = answer(replace(config, constraints=replace_limit(99)))
    assert isinstance(failed, Failed)
    assert message in failed.error


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("controller.name=my_search.py:mine", "controller.name: my_search.py:mine must be a subclass of controllers."),
        ("controller.name=my_search.py:Hil", "controller.name: my_search.py has no 'Hil'"),
        (
            'controller.options={"gred": 1}',
            "controller my_search.py:HillClimbing has no option 'gred'; did you mean 'gr",
        ),
        ("space.name=my_search.py:npu", r"space.name: my_search.py:npu\(genotype, neck\) does not take"),
        ("space.name=my_search.py:CountSums", "space.name: my_search.py:CountSums.* does not take"),
        ('space.options={"cells": 2}', "space.name: my_search.py:space failed: ValueError: "),
    ],
)
def test_a_controller_or_a_space_that_is_none_is_refused(project, assignment, message):
    config = override(load_experiment("my_search.py:mine"), [assignment])
    with pytest.raises(ConfigError, match=message):
        build_controller(config, build_space(config))


def test_a_project_of_one_file_is_searched_resumed_and_run_again(project, shared_ray, capsys, monkeypatch):
    monkeypatch.delenv("NASFPN_TRUST_CODE")
    monkeypatch.setattr(references, "_trusted", set())
    search("my_search.py:mine", "run", [], None, None, False)
    run = RunDirectory("run")
    trials = open_journal(run).trials()
    assert {trial.state for trial in trials if not trial.rejected} == {"complete"}
    by_origin = {trial.candidate.origin: trial for trial in trials}
    assert by_origin["known:start.json"].candidate.genotype == known.bifpn()
    assert by_origin["search"].metrics["npu_ms"] <= 2.7
    assert sum(trial.candidate.kind == "confirmation" for trial in trials) == 8
    config = json.loads((project / "run" / "config.json").read_text())["config"]
    assert config["task"]["name"] == "my_search.py:CountSums"
    out = capsys.readouterr().out
    assert "npu_ms" in out
    assert "its topology alone, as the task gave no neck" in out
    assert read_genotype("run/best").levels == (3, 4, 5, 6, 7)

    (project / "start.json").unlink()
    monkeypatch.setattr(references, "_trusted", set())
    extend("run", "+2", None, None)
    assert len([trial for trial in open_journal(run).trials() if trial.candidate.origin == "search"]) >= 8
    rerun_trial(f"run:{by_origin['random'].number}", None)
    assert "the same" in capsys.readouterr().out

    monkeypatch.setattr(references, "_trusted", set())
    shutil.copytree("run", "theirs")
    make_report("theirs")
    assert not references.is_trusted("my_search.py:CountSums")
    for command in (lambda: rerun_trial("theirs:0", None), lambda: extend("theirs", "+1", None, None)):
        with pytest.raises(UntrustedError, match=r"theirs names code that this needs to run .my_search.py:CountSums, "):
            command()

    monkeypatch.setenv("NASFPN_TRUST_CODE", "1")
    monkeypatch.chdir(project / "run")
    with pytest.raises(ConfigError, match=r"task.name: no file my_search.py"):
        rerun_trial("../run:0", None)


def test_a_task_has_the_same_threads_in_every_process(project):
    """Ray gives its workers one, so that a trial trained again elsewhere would sum in another order."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        configured_task(load_experiment("my_search.py:mine"))
        assert torch.get_num_threads() == 1
        configured_task(override(load_experiment("my_search.py:mine"), ["proxy.threads=2"]))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
