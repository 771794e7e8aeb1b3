"""The trainable without Ray's processes: what it reports, and where it goes on."""

from __future__ import annotations

import json
import math
import random
import re
import shutil
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from ray import tune

import nas.tune.trainable
from nas.engine.trial import trial_seed
from nas.errors import UserError
from nas.proxy.trial import Trained, TrialError
from nas.search.config import ResourceConfig, build_space
from nas.search.constraints import ConstraintConfig
from nas.search.reward import RewardConfig
from nas.tune import neck_trainable, tuner_parts
from necks import build_neck, load_exported
from tests.support.stepping_task import SteppingTask, latency_ms, make_stepping, stepping_config, steps_done


@dataclass
class Session:
    """Tune's, as far as a trainable sees it.

    Args:
        stops_at: report at which Tune ends the trial.
    """

    home: Path
    checkpoint: tune.Checkpoint | None = None
    stops_at: int | None = None
    results: list[dict] = field(default_factory=list)

    def report(self, metrics, *, checkpoint=None):
        json.dumps(metrics)
        self.results.append(metrics)
        if checkpoint is not None:
            kept = Path(tempfile.mkdtemp(dir=self.home)) / "checkpoint"
            shutil.copytree(checkpoint.path, kept)
            self.checkpoint = tune.Checkpoint.from_directory(str(kept))
        if self.stops_at == len(self.results):
            raise SystemExit(0)

    def get_checkpoint(self):
        return self.checkpoint


@pytest.fixture
def session(tmp_path, monkeypatch):
    home = tmp_path / "tune"
    home.mkdir()
    session = Session(home)
    monkeypatch.setattr(tune, "report", session.report)
    monkeypatch.setattr(tune, "get_checkpoint", session.get_checkpoint)
    monkeypatch.setattr(nas.tune.trainable, "_kept", [])
    return session


@pytest.fixture
def config(tmp_path):
    return stepping_config(tmp_path)


@pytest.fixture
def genotype(config):
    return build_space(config).sample(random.Random(0))


def trial(genotype, **more):
    return {"genotype": genotype.to_dict(), **more}


class NoCheckpoints(SteppingTask):
    def run(self, genotype, seed, callbacks):
        for rung in callbacks.rungs:
            callbacks.stops_at(rung, {"AP": rung})
        return Trained({"AP": 9.0}, None)


def make_without_checkpoints(config):
    return NoCheckpoints(config)


class WithNeck(SteppingTask):
    def run(self, genotype, seed, callbacks):
        neck = build_neck(genotype, in_channels=(4, 4, 4), out_channels=4).eval()
        return Trained(super().run(genotype, seed, callbacks).metrics, neck)


def make_with_neck(config):
    return WithNeck(config)


class Muddled(SteppingTask):
    def run(self, genotype, seed, callbacks):
        return Trained({"AP": math.nan}, None)


def make_muddled(config):
    return Muddled(config)


def test_rungs_and_the_end_are_reported(session, config, genotype):
    neck_trainable(config, make_stepping)(trial(genotype, number=3, seed=7))
    ap = make_stepping(config).ap(genotype, 4)
    assert [(each["steps"], each["state"]) for each in session.results] == [
        (1, "training"),
        (2, "training"),
        (4, "complete"),
    ]
    assert [each["reward"] for each in session.results] == [ap / 4, ap / 2, ap]
    assert all(re.fullmatch(r"[\w./ :-]+", name) for each in session.results for name in each), "refused by MLflow"
    assert all({"AP", "params", "macs", "latency_ms"} <= each.keys() for each in session.results)
    assert steps_done(Path(config.data.root)) == [(7, step) for step in range(1, 5)]


def test_a_trial_goes_on_behind_the_rung_at_which_it_was_left(session, config, genotype):
    neck_trainable(config, make_stepping)(trial(genotype, seed=7))
    whole, session.results, session.checkpoint = session.results[-1], [], None
    (Path(config.data.root) / "steps.log").unlink()
    session.stops_at = 2
    with pytest.raises(SystemExit):
        neck_trainable(config, make_stepping)(trial(genotype, seed=7))
    session.stops_at = None
    neck_trainable(config, make_stepping)(trial(genotype, seed=7))
    assert [each["steps"] for each in session.results] == [1, 2, 4]
    assert steps_done(Path(config.data.root)) == [(7, step) for step in range(1, 5)]
    timed = {"seconds", "begun"}
    assert {name: session.results[-1][name] for name in whole.keys() - timed} == {
        name: whole[name] for name in whole.keys() - timed
    }


def test_the_neck_of_a_whole_training_is_in_its_checkpoint(session, config, genotype):
    neck_trainable(config, make_with_neck)(trial(genotype))
    with session.checkpoint.as_directory() as directory:
        assert load_exported(Path(directory) / "neck").genotype == genotype
    session.results.clear()
    neck_trainable(config, make_with_neck)(trial(genotype))
    assert session.results[-1]["begun"] == 0, "a checkpoint of a whole training is none to go on from"


def test_a_neck_over_a_limit_is_reported_as_rejected(session, config, genotype):
    limit = latency_ms(genotype) / 2
    limited = replace(config, constraints=ConstraintConfig(max_latency_ms=limit), reward=RewardConfig(metric="AP50"))
    neck_trainable(limited, make_stepping)(trial(genotype))
    (result,) = session.results
    assert result["state"] == "rejected"
    assert result["reason"].startswith(f"constraint: {latency_ms(genotype):.3g} ms > max_latency_ms")
    assert all(math.isnan(result[name]) for name in ("reward", "AP", "AP50"))
    assert result["latency_ms"] == latency_ms(genotype)


def test_a_failed_training_is_an_error_that_says_why(session, config, genotype):
    (Path(config.data.root) / "FAIL_7").touch()
    with pytest.raises(TrialError, match="loss is nan at step 7"):
        neck_trainable(config, make_stepping)(trial(genotype, seed=7))
    with pytest.raises(TrialError, match="AP is nan"):
        neck_trainable(config, make_muddled)(trial(genotype))


def test_seed_and_number_may_be_left_out(session, config, genotype):
    seeded = replace(config, seed=2)
    neck_trainable(seeded, make_stepping)(trial(genotype))
    neck_trainable(seeded, make_stepping)(trial(genotype, number=5))
    assert {seed for seed, _ in steps_done(Path(config.data.root))} == {trial_seed(seeded, 0), trial_seed(seeded, 5)}


def test_a_shared_result_is_reported_without_training(session, config, genotype):
    neck_trainable(config, make_stepping)(
        trial(genotype, copied={"reward": 1.0, "AP": 1.0, "state": "training", "latency_ms": 2.0})
    )
    assert session.results == [
        {"reward": 1.0, "AP": 1.0, "state": "training", "latency_ms": 2.0, "steps": 0, "copied": True}
    ]
    assert not (Path(config.data.root) / "steps.log").exists()


def test_a_task_without_checkpoints(session, config, genotype, caplog):
    neck_trainable(config, make_without_checkpoints, checkpoints=False)(trial(genotype))
    assert [each["reward"] for each in session.results] == [1, 2, 9]
    assert not caplog.records
    session.results.clear()
    neck_trainable(config, make_without_checkpoints)(trial(genotype))
    assert [each["reward"] for each in session.results] == [1, 2, 9]
    assert "pass checkpoints=False" in caplog.text


def test_the_task_stays_warm(session, config, genotype):
    made = []

    def make(config):
        made.append(config)
        return make_stepping(config)

    for trainable in (neck_trainable(config, make), neck_trainable(config, make)):
        trainable(trial(genotype))
    assert len(made) == 1
    neck_trainable(replace(config, seed=1), make)(trial(genotype))
    assert len(made) == 2


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        ({"lr": 0.1}, "needs a genotype, this one has lr; set search_alg=NeckSearcher"),
        ({}, "this one has nothing"),
        ({"genotype": {"format": 1}}, "the genotype of a trial's configuration: "),
        ({"genotype": "fpn"}, "the genotype of a trial's configuration: "),
    ],
)
def test_a_configuration_without_a_genotype_is_one_line(session, config, configuration, message):
    with pytest.raises(UserError, match=message) as raised:
        neck_trainable(config, make_stepping)(configuration)
    assert "\n" not in str(raised.value)


def test_parts_follow_the_configuration(config):
    parts = tuner_parts(replace(config, resources=ResourceConfig(cpus=2, gpus=0.5, workers=3)), make_stepping)
    wanted = parts["trainable"]._resources.required_resources
    assert (wanted["CPU"], wanted["GPU"]) == (2, 0.5)
    tune_config = parts["tune_config"]
    assert (tune_config.num_samples, tune_config.max_concurrent_trials) == (4, 3)
    assert type(tune_config.scheduler).__name__ == "AsyncHyperBandScheduler"
    whole = replace(config, stopping=replace(config.stopping, rungs=()))
    assert tuner_parts(whole, make_stepping)["tune_config"].scheduler is None


def test_paths_mean_the_directory_of_the_call(session, tmp_path, monkeypatch, genotype):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    trainable = neck_trainable(stepping_config(Path("orders")), make_stepping)
    (tmp_path / "here" / "orders").mkdir()
    monkeypatch.chdir(tmp_path)
    trainable(trial(genotype))
    assert (tmp_path / "here" / "orders" / "steps.log").is_file()
