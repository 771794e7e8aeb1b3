"""Real `Tuner.fit()`: the search of `nasfpn search`; marked slow: ASHA, HyperBand, a kill and a restore, training."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from ray import tune
from ray.tune.schedulers import HyperBandScheduler

from nas.data.config import DataConfig, SignsConfig
from nas.detection.config import BackboneConfig, HeadConfig
from nas.engine.run import run_search
from nas.experiment import load_experiment
from nas.proxy.config import NeckConfig, OptimizerConfig, ProxyConfig
from nas.runs.run_directory import RunDirectory
from nas.search.config import ControllerConfig, ResourceConfig, SearchConfig
from nas.search.confirmation import ConfirmConfig
from nas.search.constraints import ConstraintConfig
from nas.search.stopping import StoppingConfig
from nas.tune import NeckSearcher, neck_trainable, tuner_parts
from necks import load_exported
from search_space import Genotype, known_genotype
from tests.support import stepping_task
from tests.support.own_search import write_project
from tests.support.stepping_task import make_stepping, stepping_config, steps_done
from tests.support.toy_search import Teller

pytestmark = pytest.mark.usefixtures("shared_ray")

PATIENCE_SECONDS = 120


@pytest.fixture
def orders(tmp_path) -> Path:
    (tmp_path / "orders").mkdir()
    return tmp_path / "orders"


@pytest.fixture
def run_config(tmp_path) -> tune.RunConfig:
    return tune.RunConfig(name="fit", storage_path=str(tmp_path / "tune"), verbose=0)


def by_number(results) -> dict[int, tune.Result]:
    return {result.config["number"]: result for result in results}


def searched(config: SearchConfig, run_dir: Path, **how) -> dict[int, tuple[Genotype, float | None]]:
    """Genotypes and rewards of the same search by the engine."""
    run = RunDirectory(run_dir)
    with run.claim(config):
        trials = run_search(config, run, Teller(), **how)
    return {trial.number: (trial.candidate.genotype, trial.reward) for trial in trials}


def tuned(results) -> dict[int, tuple[Genotype, float | None]]:
    """Genotypes and rewards, None for a trial that was rejected."""
    return {
        number: (
            Genotype.from_dict(result.config["genotype"]),
            None if result.metrics["state"] == "rejected" else result.metrics["reward"],
        )
        for number, result in by_number(results).items()
    }


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A user's own project in the current directory, its space, task, reward, cost and limit in one file."""
    (tmp_path / "project").mkdir()
    write_project(tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield load_experiment("my_search.py:mine")
    sys.modules.pop("my_search", None)


def test_a_tuner_searches_as_the_command_does(project, tmp_path, run_config):
    """With a controller that learns nothing: the genotypes, rewards and rejections of a user's own file."""
    config = replace(
        project,
        controller=ControllerConfig(name="random"),
        resources=ResourceConfig(workers=1),
        known=("fpn",),
        random_trials=0,
        constraints=ConstraintConfig(max_costs={"npu_ms": 3.5}),
        confirm=ConfirmConfig(trainings=0),
    )
    results = tune.Tuner(**tuner_parts(config), run_config=run_config).fit()
    found, expected = tuned(results), searched(config, tmp_path / "run")
    assert len(found) == config.trials
    assert found == {number: expected[number] for number in found}
    states = Counter(result.metrics["state"] for result in results)
    assert set(states) == {"complete", "rejected"}
    best = results.get_best_result()
    assert best.metrics["reward"] == max(reward for _, reward in found.values() if reward is not None)
    assert Path(best.path).name.startswith(f"neck_{best.config['number']:04d}_")


@pytest.mark.slow
def test_asha_stops_trials_at_rungs(orders, run_config, monkeypatch):
    config = stepping_config(orders, trials=8, steps=8, stopping=StoppingConfig(rungs=(1, 2, 4), reduction_factor=2))
    limited = replace(config, constraints=ConstraintConfig(max_latency_ms=9), resources=ResourceConfig())
    (orders / "FAIL_1").touch()
    parts = tuner_parts(limited, make_stepping)
    told = []
    searcher = parts["tune_config"].search_alg
    observe = searcher.controller.observe
    monkeypatch.setattr(searcher.controller, "observe", lambda batch: (told.extend(batch), observe(batch)))
    results = by_number(tune.Tuner(**parts, run_config=run_config).fit())
    assert results[1].error is not None
    states = Counter(outcome.state for outcome in told)
    assert sum(states.values()) == 8
    assert states["stopped"] >= 1
    assert states["complete"] >= 1
    for outcome in told:
        result = results[outcome.proposal.id]
        if outcome.state == "failed":
            assert outcome.proposal.id == 1 or result.metrics["state"] == "rejected"
        else:
            assert outcome.reward == result.metrics["reward"]
            assert (outcome.state == "stopped") == (result.metrics["state"] == "training")
    assert len(steps_done(orders)) < 8 * 8


@pytest.mark.slow
def test_any_search_algorithm_trains_necks(orders, run_config):
    """Known necks, by Tune's own grid."""
    config = stepping_config(orders)
    names = ("fpn", "pafpn")
    space = {"genotype": tune.grid_search([known_genotype(name).to_dict() for name in names])}
    results = tune.Tuner(neck_trainable(config, make_stepping), param_space=space, run_config=run_config).fit()
    assert {Genotype.from_dict(result.config["genotype"]) for result in results} == set(map(known_genotype, names))
    assert not results.errors


@pytest.mark.slow
def test_hyperband_pauses_trials_and_goes_on_with_some(orders, run_config):
    config = stepping_config(orders, trials=8, steps=9, stopping=StoppingConfig(rungs=(1, 3)))
    searcher = NeckSearcher(config)
    tune_config = tune.TuneConfig(
        metric="reward",
        mode="max",
        search_alg=searcher,
        scheduler=HyperBandScheduler(time_attr="steps", max_t=9),
        num_samples=8,
    )
    results = tune.Tuner(neck_trainable(config, make_stepping), tune_config=tune_config, run_config=run_config).fit()
    assert not results.errors
    assert not searcher.controller.pending
    done = Counter(steps_done(orders))
    assert set(done.values()) == {1}, "no step is trained twice"
    assert len(done) < 8 * 9


def wait_until(true, what):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@pytest.mark.slow
def test_a_killed_tuner_is_restored(orders, tmp_path):
    """Nothing is trained twice: what had finished is kept, and the trial behind a rung goes on there."""
    config = stepping_config(orders, trials=6, seconds=0.05)
    whole = searched(replace(config, stopping=StoppingConfig()), tmp_path / "run", make_task=make_stepping)
    (orders / "steps.log").unlink()
    (orders / "HOLD_1_2").touch()
    script = [sys.executable, stepping_task.__file__, str(orders), str(tmp_path / "tune")]
    environment = {**os.environ, "TUNE_GLOBAL_CHECKPOINT_S": "1"}
    driver = subprocess.Popen(script, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
    states = tmp_path / "tune" / "killed"

    def all_others_are_saved_as_finished() -> bool:
        texts = [path.read_text() for path in states.glob("experiment_state-*.json")]
        return any(text.count("TERMINATED") >= 5 for text in texts)

    wait_until(all_others_are_saved_as_finished, "five trials did not finish")
    orphan = int((orders / "held_1").read_text())
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    wait_until(lambda: not psutil.pid_exists(orphan), "the killed driver's worker lives")
    (orders / "HOLD_1_2").unlink()
    results = tune.Tuner.restore(str(states), trainable=neck_trainable(config, make_stepping)).fit()
    assert not results.errors
    assert tuned(results) == whole
    assert set(Counter(steps_done(orders)).values()) == {1}
    assert by_number(results)[1].metrics["begun"] == 1


@pytest.mark.slow
def test_the_proxy_task_trains_the_same_necks_to_the_same_rewards(tmp_path, run_config):
    signs = SignsConfig(train=16, reward=6, test=4, image_size=96, plate_px=(50, 80), tile_px=(6, 8))
    config = SearchConfig(
        name="tiny",
        data=DataConfig(root=str(tmp_path / "signs"), embedded=signs),
        proxy=ProxyConfig(
            backbone=BackboneConfig(name="resnet10"),
            neck=NeckConfig(channels=16, repeats=1),
            head=HeadConfig(convs=1, octaves=1, ratios=(1.0,), score_threshold=0.0),
            optimizer=OptimizerConfig(name="adamw", lr=3e-3, warmup_steps=2),
            image_size=96,
            steps=12,
            batch_size=4,
        ),
        controller=replace(stepping_config(tmp_path).controller),
        stopping=StoppingConfig(rungs=(4,)),
        resources=ResourceConfig(workers=1),
        known=(),
        trials=3,
        random_trials=0,
        confirm=stepping_config(tmp_path).confirm,
    )
    tune_config = tune.TuneConfig(search_alg=NeckSearcher(config), num_samples=3, max_concurrent_trials=1)
    results = tune.Tuner(neck_trainable(config), tune_config=tune_config, run_config=run_config).fit()
    assert not results.errors
    expected = searched(replace(config, stopping=StoppingConfig()), tmp_path / "run")
    assert tuned(results) == expected
    assert all(math.isfinite(reward) for _, reward in expected.values())
    assert len({result.metrics["loss"] for result in results}) == 3
    for result in results:
        with result.checkpoint.as_directory() as directory:
            assert load_exported(Path(directory) / "neck").genotype == Genotype.from_dict(result.config["genotype"])
