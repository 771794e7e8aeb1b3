"""Who inherits from whom, which controls that takes, and what becomes of rewards; no Ray, no training."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace

import pytest

from nas.configuration import ConfigError, override
from nas.engine.rerun import observed_reward, start_of
from nas.engine.scheduler import TrialScheduler
from nas.errors import UserError
from nas.proxy.trial import Start
from nas.results.summary import steps_by_side
from nas.runs.journal import Journal
from nas.runs.run_directory import RunDirectory
from nas.runs.start_weights import StartWeights
from nas.search.config import ControllerConfig
from nas.search.confirmation import ConfirmConfig
from nas.search.constraints import ConstraintConfig
from nas.search.inheritance import DEPTH, DRIFT, INHERITED_FROM, RAW_REWARD, InheritConfig, Lineages
from nas.search.records import Candidate, Trial
from nas.search.standings import best_found, found
from search_space import known
from tests.support.toy_search import toy_config

GAIN = 2.0
"""What every 100 steps more add to a lineage, whatever its cells are."""


class Everyone:
    """Weights of all trials."""

    def __contains__(self, number: object) -> bool:
        return True


def config_of(tmp_path, **changes):
    evolution = ControllerConfig(
        name="evolution", options={"population_size": 8, "tournament_size": 3, "num_random": 3}
    )
    fields = {"controller": evolution, "inherit": InheritConfig(steps=10), "trials": 20, "known": ("nas_fpn",)}
    return toy_config(tmp_path, **(fields | changes))


def truth(genotype) -> float:
    return 20 + int(genotype.fingerprint, 16) % 1000 / 100


def go_on(scheduler: TrialScheduler, *, slots: int = 2, stop: int | None = None, inherits: bool = True) -> None:
    """Two workers; AP is the neck's truth and the gain of its lineage."""
    running: list[tuple[int, float, bool]] = []
    rng = random.Random(0)
    done = 0
    while True:
        while len(running) < slots and (following := scheduler.next()) is not None:
            number, candidate = following
            inheritance = scheduler.lineages.begun(number)
            depth = 0 if inheritance is None else inheritance.depth
            running.append((number, truth(candidate.genotype) + GAIN * depth * inherits, inherits and depth > 0))
        if not running or done == stop:
            return
        number, ap, inherited = running.pop(rng.randrange(len(running)))
        scheduler.complete(number, {"AP": ap, "steps": 10 if inherited else 50}, inherited=inherited)
        done += 1


def run(path, config, kept=None, **options):
    scheduler = TrialScheduler(
        config, Journal(path, writable=True), lambda trial: None, kept=Everyone() if kept is None else kept
    )
    go_on(scheduler, **options)
    return scheduler, Journal(path).trials()


def test_children_inherit_and_what_lineages_gain_by_training_is_taken_off(tmp_path):
    config = config_of(tmp_path)
    scheduler, trials = run(tmp_path / "journal.log", config)
    assert scheduler.left == 0
    children = [trial for trial in trials if trial.candidate.origin == "search" and INHERITED_FROM in trial.metrics]
    assert len(children) > 10
    assert max(trial.metrics[DEPTH] for trial in children) >= 3
    for trial in children:
        assert trial.metrics[RAW_REWARD] == pytest.approx(truth(trial.candidate.genotype) + GAIN * trial.metrics[DEPTH])
        assert trial.metrics[DRIFT] == pytest.approx(GAIN * trial.metrics[DEPTH])
        assert trial.reward == pytest.approx(truth(trial.candidate.genotype))
        parent = trials[trial.metrics[INHERITED_FROM]]
        assert trial.metrics[DEPTH] == parent.metrics.get(DEPTH, 0) + 1
        assert parent.order < trial.order


def test_controls_are_no_candidates(tmp_path):
    config = config_of(tmp_path, confirm=ConfirmConfig(trainings=8, found=2, known=2))
    _, trials = run(tmp_path / "journal.log", config)
    controls = [trial for trial in trials if trial.candidate.kind == "control"]
    assert controls
    for trial in controls:
        root, depth = trial.candidate.controls
        assert trial.candidate.genotype == trials[root].candidate.genotype
        assert trial.reward == pytest.approx(trials[root].reward + GAIN * depth), "nothing is taken off a control"
        assert not trial.candidate.is_limited
    everyone = [*found(trials, "search"), *found(trials, "random"), best_found(trials)]
    assert not {trial.number for trial in controls} & {trial.number for trial in everyone}
    assert sum(trial.candidate.origin == "search" for trial in trials) == config.trials
    again = [trial for trial in trials if trial.candidate.confirms is not None]
    assert len(again) == 8
    assert all(trial.metrics["steps"] == 50 and INHERITED_FROM not in trial.metrics for trial in again)
    assert steps_by_side(config, trials)["control"] == 10 * len(controls)


@pytest.mark.parametrize("stop", [1, 4, 7, 11, 16, 23])
def test_a_search_cut_off_anywhere_ends_with_the_same_trials(tmp_path, stop):
    """One worker, so that the order is one; the killed trial is run again under its number."""
    config = config_of(tmp_path, confirm=ConfirmConfig(trainings=8, found=2, known=2))
    _, whole = run(tmp_path / "whole.log", config, slots=1)
    run(tmp_path / "cut.log", config, slots=1, stop=stop)
    _, resumed = run(tmp_path / "cut.log", config, slots=1)
    assert [(t.candidate, t.reward, t.metrics) for t in resumed] == [(t.candidate, t.reward, t.metrics) for t in whole]


def test_a_metric_of_ones_own_named_depth_is_no_depth_of_a_lineage():
    root = Candidate(origin="search", genotype=known.fpn(), proposal=0)
    trial = Trial(
        number=0,
        candidate=root,
        state="complete",
        reward=1.0,
        metrics={DEPTH: 18},
        error=None,
        copied_from=None,
        order=0,
    )
    lineages = Lineages(InheritConfig(steps=1), Everyone(), [trial])
    lineages.add(1, Candidate(origin="search", genotype=known.bifpn(), proposal=1, parent=0))
    assert lineages.of(1).depth == 1


def test_a_child_of_a_parent_without_weights_is_trained_from_nothing(tmp_path):
    _, trials = run(tmp_path / "journal.log", config_of(tmp_path), kept=())
    bred = [trial for trial in trials if trial.candidate.parent is not None]
    assert bred
    assert all(trial.metrics[DEPTH] == 0 and INHERITED_FROM not in trial.metrics for trial in bred)
    assert not any(trial.candidate.kind == "control" for trial in trials)


def test_a_task_that_knows_nothing_of_inheritance_trains_from_nothing(tmp_path):
    scheduler, trials = run(tmp_path / "journal.log", config_of(tmp_path), inherits=False)
    assert scheduler.left == 0
    bred = [trial for trial in trials if trial.candidate.parent is not None]
    assert all(trial.reward == pytest.approx(truth(trial.candidate.genotype)) for trial in bred)
    assert {trial.state for trial in trials if trial.candidate.kind == "control"} <= {"failed"}


@pytest.mark.parametrize("controller", ["ppo", "tpe", "random"])
def test_controllers_that_name_no_parent_search_as_before(tmp_path, controller):
    other = {"controller": ControllerConfig(name=controller)}
    _, plain = run(tmp_path / "plain.log", config_of(tmp_path, inherit=InheritConfig(), **other), slots=1)
    _, trials = run(tmp_path / "on.log", config_of(tmp_path, **other), slots=1)
    assert [(t.candidate, t.reward) for t in trials] == [(t.candidate, t.reward) for t in plain]


def test_off_is_off(tmp_path):
    _, trials = run(tmp_path / "journal.log", config_of(tmp_path, inherit=InheritConfig()))
    assert not any(trial.candidate.kind == "control" or DEPTH in trial.metrics for trial in trials)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("inherit.steps=50", "inherit.steps must be fewer than proxy.steps, 50, got 50"),
        ("stopping.rungs=[5]", "stopping.rungs compare trainings of one length"),
    ],
)
def test_what_does_not_go_together_is_one_line(tmp_path, assignment, message):
    with pytest.raises(ConfigError, match=message):
        override(config_of(tmp_path), [assignment])


def test_weights_are_whole_or_none(tmp_path):
    starts = StartWeights(RunDirectory(tmp_path))
    for number in range(3):
        starts.add(number, b"weights of %d" % number)
    assert starts.get(1) == b"weights of 1"
    assert 1 in starts
    file = tmp_path / "start_weights" / "0001.weights"
    file.write_bytes(file.read_bytes()[:-1])
    assert starts.get(1) is None
    assert 1 not in starts
    (tmp_path / "start_weights" / "0007.partial").write_bytes(b"torn")
    starts.keep({2})
    assert [path.name for path in (tmp_path / "start_weights").iterdir()] == ["0002.weights"]
    shutil.rmtree(tmp_path / "start_weights")
    starts.keep({2})
    assert starts.get(2) is None


def test_weights_are_kept_as_long_as_somebody_may_start_from_them(tmp_path):
    """The latest candidates, known necks, roots, and the last control of each."""
    config = config_of(tmp_path, inherit=InheritConfig(steps=10, keep=4))
    scheduler, trials = run(tmp_path / "journal.log", config, slots=1)
    needed = scheduler.lineages.needed()
    scored = [trial.number for trial in trials if trial.candidate.kind == "proposed" and trial.copied_from is None]
    assert set(scored[-4:]) <= needed
    assert {trial.candidate.controls[0] for trial in trials if trial.candidate.kind == "control"} <= needed
    assert len(needed) < len(trials) - 4


def test_a_trial_that_inherited_is_trained_again_from_the_same_weights(tmp_path):
    config = config_of(tmp_path)
    _, trials = run(tmp_path / "journal.log", config)
    child = next(trial for trial in trials if INHERITED_FROM in trial.metrics and trial.candidate.parent is not None)
    starts = StartWeights(RunDirectory(tmp_path))
    with pytest.raises(UserError, match=f"trial {child.number} started from the weights of trial .* no longer kept"):
        start_of(config, child, starts)
    starts.add(child.metrics[INHERITED_FROM], b"weights")
    assert start_of(config, child, starts) == Start(b"weights", 10, config.inherit.lr)
    assert observed_reward(child) == child.metrics[RAW_REWARD] != child.reward
    assert start_of(config, trials[0], starts) is None
    assert observed_reward(trials[0]) == trials[0].reward


def test_a_control_has_the_width_of_its_root(tmp_path):
    """A known neck has a width of its own, which an initial candidate that is the same function shares."""
    config = config_of(tmp_path, constraints=ConstraintConfig(max_macs=700), known=("nas_fpn",), trials=8)
    config = replace(config, controller=replace(config.controller, initial=("nas_fpn",)))

    def cost(_):
        return lambda genotype, channels=256: {"params": 1, "macs": channels * 2}

    scheduler = TrialScheduler(
        config, Journal(tmp_path / "journal.log", writable=True), lambda trial: None, cost, kept=Everyone()
    )
    go_on(scheduler)
    trials = Journal(tmp_path / "journal.log").trials()
    controls = [trial.candidate for trial in trials if trial.candidate.kind == "control"]
    assert trials[0].candidate.channels == 350
    assert controls
    assert all(each.channels == trials[each.controls[0]].candidate.channels for each in controls)
