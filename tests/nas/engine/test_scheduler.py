"""What goes between journal, controllers and spaces; no Ray."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controllers import CONTROLLERS, Controller, Outcome
from nas.configuration import ConfigError, from_dict, override, to_dict
from nas.engine.scheduler import TrialScheduler
from nas.results.summary import status
from nas.runs.journal import Journal
from nas.search.config import ControllerConfig, SearchConfig, SpaceConfig, build_space
from nas.search.constraints import ConstraintConfig
from nas.search.proposing import build_baseline, build_controller, candidate_of, known_neck, staleness
from nas.search.records import Candidate
from nas.search.reward import RewardConfig
from nas.search.task import TaskConfig
from search_space import Genotype, NasFpnSpace, PyramidSpace, known_genotype
from tests.support.toy_search import toy_config


class Recorder(Controller):
    """Random, with a note on each proposal, and a list of what it was told."""

    def __init__(self, *arguments: Any, objectives: int = 1, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.objectives = objectives
        self.told: list[Outcome] = []

    def _info(self, choices: Mapping[str, Any]) -> dict[str, float]:
        return {"log_probability": -1.5 * self.num_proposed}

    def _next(self, rng: random.Random) -> Genotype:
        return self.space.sample(rng)

    def _learn(self, outcome: Outcome) -> None:
        self.told.append(outcome)

    def _state(self) -> dict[str, Any]:
        return {}

    def _load(self, state: Mapping[str, Any]) -> None:
        pass


@pytest.fixture
def recorded(tmp_path, monkeypatch) -> SearchConfig:
    monkeypatch.setitem(CONTROLLERS, "recorder", Recorder)
    config = toy_config(tmp_path, controller=ControllerConfig(name="recorder"), random_trials=0, trials=4)
    return replace(config, known=("nas_fpn",))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.log"


def run_some(config: SearchConfig, path: Path, trials: int) -> TrialScheduler:
    scheduler = TrialScheduler(config, Journal(path, writable=True), lambda trial: None)
    for _ in range(trials):
        number, _ = scheduler.next()
        scheduler.complete(number, {"AP": 10.0 + number, "macs": 100.0 * (number + 1), "params": 5})
    return scheduler


def test_a_replayed_controller_gets_its_notes_and_the_same_outcomes(recorded, path):
    told = run_some(recorded, path, 4).proposers.controllers["search"].told
    again = (
        TrialScheduler(recorded, Journal(path, writable=True), lambda trial: None).proposers.controllers["search"].told
    )
    assert again == told
    assert [outcome.proposal.info for outcome in again] == [{"log_probability": -1.5 * k} for k in range(3)]


def test_a_journal_from_before_there_were_notes_still_loads(recorded, path, tmp_path):
    plain = replace(recorded, controller=ControllerConfig(name="random"))
    run_some(plain, path, 5)
    assert '"info"' not in path.read_text()
    assert '"rejected"' not in path.read_text()
    assert all(trial.candidate.info == {} and trial.rejected == () for trial in Journal(path).trials())


@pytest.mark.parametrize(
    ("reward", "first", "objectives"),
    [
        (RewardConfig(), 11.0, None),
        (RewardConfig(objective="pareto"), 11.0, (11.0, -200.0)),
        (RewardConfig(objective="pareto", cost="params"), 11.0, (11.0, -5.0)),
        (RewardConfig(objective="mnasnet", target=100), 11.0 * 2**-0.07, None),
    ],
)
def test_rewards_are_made_from_metrics_and_told_with_their_objectives(recorded, path, reward, first, objectives):
    config = replace(recorded, reward=reward)
    scheduler = run_some(config, path, 5)
    outcome = scheduler.proposers.controllers["search"].told[0]
    assert outcome.reward == pytest.approx(first)
    assert outcome.objectives == objectives
    trial = scheduler.journal.trials()[1]
    assert (trial.reward, trial.metrics["AP"]) == (outcome.reward, 11.0)
    assert TrialScheduler(config, Journal(path), lambda trial: None).proposers.controllers["search"].told[0] == outcome


def test_twins_share_metrics_and_so_the_reward(recorded, path):
    controller = ControllerConfig(name="recorder", initial=("nas_fpn",))
    config = replace(recorded, controller=controller, reward=RewardConfig(objective="mnasnet", target=50))
    scheduler = run_some(config, path, 1)
    scheduler.next()
    known, twin, _ = scheduler.journal.trials()
    assert twin.copied_from == known.number
    assert (twin.reward, twin.metrics) == (known.reward, known.metrics)
    assert known.reward == pytest.approx(10.0 * 2**-0.07)


def twins(config: SearchConfig, path: Path) -> TrialScheduler:
    """A scheduler whose trial 0 is in work, and whose trial 1 is the same function."""
    config = replace(config, controller=ControllerConfig(name="random", initial=("nas_fpn",)), trials=2)
    scheduler = TrialScheduler(config, Journal(path, writable=True), lambda trial: None)
    assert [scheduler.next()[0], scheduler.next()[0]] == [0, 2]
    return scheduler


def test_a_twin_of_a_trial_in_work_waits_for_its_result(recorded, path):
    scheduler = twins(recorded, path)
    assert scheduler.journal.trials()[1].state == "running"
    scheduler.complete(0, {"AP": 30.0})
    known, twin, _ = scheduler.journal.trials()
    assert (twin.copied_from, twin.reward) == (known.number, 30.0)


def test_a_twin_of_a_stopped_trial_is_stopped_there_too(recorded, path):
    scheduler = twins(recorded, path)
    scheduler.complete(0, {"AP": 30.0}, stopped=True)
    assert [trial.state for trial in Journal(path).trials()] == ["stopped", "stopped", "running"]
    assert [trial.reward for trial in Journal(path).trials()] == [30.0, 30.0, None]


def test_a_twin_of_a_trial_that_fails_fails_too(recorded, path):
    scheduler = twins(recorded, path)
    scheduler.fail(0, "loss is nan")
    assert [trial.state for trial in scheduler.journal.trials()] == ["failed", "failed", "running"]
    assert scheduler.journal.trials()[1].error == "the same function as trial 0, which failed: loss is nan"


def test_a_controller_for_more_objectives_than_there_are_is_refused(recorded):
    config = replace(recorded, controller=ControllerConfig(name="recorder", options={"objectives": 2}))
    with pytest.raises(ConfigError, match=r"maximises 2 objectives, reward.objective = ap gives 1"):
        build_controller(config, build_space(config))
    pareto = replace(config, reward=RewardConfig(objective="pareto"))
    assert build_controller(pareto, build_space(pareto)).objectives == 2


def test_under_pareto_optunas_samplers_maximise_both(tmp_path, path):
    controller = ControllerConfig(name="nsga2", options={"population_size": 4})
    config = toy_config(tmp_path, controller=controller, known=(), random_trials=0)
    assert build_controller(config, build_space(config)).objectives == 1
    pareto = replace(config, reward=RewardConfig(objective="pareto"))
    scheduler = run_some(pareto, path, 6)
    assert scheduler.proposers.controllers["search"].objectives == 2
    again = TrialScheduler(pareto, Journal(path), lambda trial: None).proposers.controllers["search"]
    assert again.propose(2) == scheduler.proposers.controllers["search"].propose(2)


@pytest.mark.parametrize("name", ["evolution", "ppo", "tpe"])
def test_every_controller_is_recovered_from_the_journal_among_rejections(tmp_path, path, name):
    config = toy_config(tmp_path, controller=ControllerConfig(name=name), known=(), random_trials=0, trials=8)
    config = replace(config, constraints=ConstraintConfig(max_latency_ms=5))
    scheduler = TrialScheduler(config, Journal(path, writable=True), lambda trial: None)
    for latency in (1.0, 9.0, 9.0, 2.0, 9.0, 4.0):
        number, _ = scheduler.next()
        if latency > 5:
            scheduler.reject(number, {"latency_ms": latency})
        else:
            scheduler.complete(number, {"AP": 10.0 + number, "latency_ms": latency})
    again = TrialScheduler(config, Journal(path), lambda trial: None).proposers.controllers["search"]
    assert again.propose(2) == scheduler.proposers.controllers["search"].propose(2)


def test_spaces_by_name(tmp_path):
    config = toy_config(tmp_path)
    space = build_space(config)
    assert isinstance(space, NasFpnSpace)
    assert space.num_cells == config.space.num_cells == 7
    wide = replace(config, space=SpaceConfig(name="pyramid", max_cells=9, max_inputs=2, merges=("sum",)))
    space = build_space(wide)
    assert isinstance(space, PyramidSpace)
    cells = [cell for seed in range(9) for cell in space.sample(random.Random(seed)).cells]
    assert len(cells) <= 9 * 9
    assert {cell.merge for cell in cells} == {"sum"}
    assert max(len(cell.inputs) for cell in cells) == 2
    assert from_dict(SearchConfig, json.loads(json.dumps(to_dict(wide)))) == wide


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_cells": 9}, "max_cells belongs to the space pyramid; nas_fpn has num_cells; leave it out"),
        ({"name": "pyramid", "num_cells": 9}, "num_cells belongs to the space nas_fpn; pyramid has min_cells, max_"),
        ({"name": "pyramids"}, "space must be one of nas_fpn, pyramid, or a reference"),
        (
            {"name": "mine.py:space", "max_cells": 9},
            "max_cells belongs to the space pyramid; mine.py:.* has options",
        ),
        ({"options": {"a": 1}}, "options belongs to the space by reference; nas_fpn has num_cells; .* set it to {}"),
    ],
)
def test_fields_of_the_other_space_are_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        from_dict(SpaceConfig, fields)


def test_a_run_from_before_the_space_pyramid_has_the_same_identity(tmp_path):
    config = toy_config(tmp_path)
    data = to_dict(config)
    data["space"] = {"name": "nas_fpn", "num_cells": 7}
    del data["reward"], data["constraints"]
    assert from_dict(SearchConfig, data) == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([], "initial: bifpn is not in the search space nas_fpn: .*merge_dangling=False; leave it out"),
        (
            ["space.name=pyramid", "space.num_cells=null", "space.max_cells=5"],
            "bifpn is not in .* pyramid: num_cells is 8, allowed",
        ),
    ],
)
def test_an_initial_neck_outside_the_space_says_why(tmp_path, changes, message):
    config = toy_config(tmp_path, controller=ControllerConfig(name="evolution", initial=("bifpn",)))
    config = override(config, changes)
    with pytest.raises(ConfigError, match=message):
        build_controller(config, build_space(config))


def test_a_known_neck_that_is_not_defined_on_the_levels_says_why(tmp_path, path):
    config = override(toy_config(tmp_path), ["proxy.neck.levels=[3,4,5,6]"])
    with pytest.raises(ConfigError, match=r"known neck 'nas_fpn': .*defined on levels .*take it out of known"):
        known_neck("nas_fpn", config)
    with pytest.raises(ConfigError, match="known neck 'nas_fpn'"):
        TrialScheduler(config, Journal(path, writable=True), lambda trial: None)


def test_a_pyramid_search_starts_from_the_classics_and_is_replayed(tmp_path, path):
    controller = ControllerConfig(name="evolution", initial=("pafpn", "bifpn", "nas_fpn", "fpn"))
    config = toy_config(tmp_path, space=SpaceConfig(name="pyramid"), controller=controller, known=(), trials=8)
    scheduler = run_some(config, path, 8)
    searched = [trial.candidate for trial in scheduler.journal.trials() if trial.candidate.origin == "search"]
    assert searched[0].genotype.fingerprint == known_genotype("pafpn").fingerprint
    again = TrialScheduler(config, Journal(path), lambda trial: None)
    expected = candidate_of("search", scheduler.proposers.controllers["search"].propose(1)[0])
    assert again.proposers.controllers["search"].propose(1)[0].genotype == expected.genotype
    assert [trial.candidate for trial in again.journal.trials()] == list(scheduler._candidates.values())


def test_candidates_without_choices_need_no_space(path):
    journal = Journal(path, writable=True)
    journal.add(Candidate(origin="known:fpn", genotype=known_genotype("fpn")), space_choices={})
    assert journal.trials()[0].candidate.is_known


@pytest.mark.parametrize(("workers", "options", "lag"), [(33, {}, None), (34, {}, 11), (1000, {"batch_size": 50}, 60)])
def test_more_workers_than_ppo_can_learn_from_are_warned_of(tmp_path, workers, options, lag):
    config = toy_config(tmp_path, controller=ControllerConfig(name="ppo", options=options))
    warning = staleness(build_controller(config, build_space(config)), workers)
    assert warning is None if lag is None else f"controller.options.max_lag={lag}," in warning
    assert staleness(build_baseline(config, build_space(config)), workers) is None


def test_a_twin_took_no_steps_of_its_own(recorded, path):
    scheduler = twins(recorded, path)
    scheduler.complete(0, {"AP": 30.0, "steps": 400})
    assert [trial.metrics.get("steps") for trial in scheduler.journal.trials()] == [400, 0, None]


STEPS = 40
"""Of a whole training; the only rung is at a quarter."""


def steps_by_origin(config: SearchConfig, path: Path, in_work: int = 3) -> dict[str, list[int]]:
    """A search of which every second random candidate is stopped at the rung, `in_work` trials at once."""
    scheduler = TrialScheduler(config, Journal(path, writable=True), lambda trial: None)
    working: list[tuple[int, Candidate]] = []
    while True:
        while len(working) < in_work and (following := scheduler.next()) is not None:
            working.append(following)
        if not working:
            break
        number, candidate = working.pop(0)
        stopped = candidate.origin == "random" and number % 2 == 0
        scheduler.complete(number, {"AP": 9.0, "steps": STEPS // 4 if stopped else STEPS}, stopped=stopped)
        assert scheduler.left >= len(working)
    assert scheduler.left == 0
    steps: dict[str, list[int]] = {"random": [], "search": []}
    for trial in scheduler.journal.trials():
        if not trial.candidate.is_known and trial.copied_from is None:
            steps[trial.candidate.origin].append(trial.metrics["steps"])
    return steps


def baseline_config(directory: Path, **changes: Any) -> SearchConfig:
    return toy_config(directory, milliseconds=STEPS, trials=30, random_trials=30, **changes)


def test_the_random_baseline_takes_as_many_steps_as_the_search_though_rungs_end_its_candidates(tmp_path, path):
    steps = steps_by_origin(baseline_config(tmp_path), path)
    assert len(steps["search"]) <= 30 < len(steps["random"])
    assert 29 * STEPS < sum(steps["random"]) <= 30 * STEPS


def test_the_random_baseline_may_be_counted_in_candidates(tmp_path, path):
    steps = steps_by_origin(baseline_config(tmp_path, random_budget="trials"), path)
    assert len(steps["random"]) <= 30
    assert sum(steps["random"]) < 20 * STEPS


def test_a_search_whose_baseline_went_on_counts_it_when_it_is_taken_up_again(tmp_path, path):
    config = baseline_config(tmp_path)
    steps_by_origin(config, path)
    again = TrialScheduler(config, Journal(path, writable=True), lambda trial: None)
    assert (again.left, again.next()) == (0, None)
    assert status(config, again.journal.trials(), live=False)["state"] == "finished"


def test_steps_of_a_task_of_ones_own_are_saved_of_its_own_trainings(tmp_path, path):
    config = baseline_config(tmp_path, task=TaskConfig(name="mine.py:Task"))
    config = replace(config, proxy=replace(config.proxy, steps=1000 * STEPS))
    steps = steps_by_origin(config, path)
    assert 29 * STEPS < sum(steps["random"]) <= 30 * STEPS


def test_a_task_of_ones_own_need_not_tell_its_steps(tmp_path, path):
    config = baseline_config(tmp_path, task=TaskConfig(name="mine.py:Task"))
    scheduler = TrialScheduler(config, Journal(path, writable=True), lambda trial: None)
    while (following := scheduler.next()) is not None:
        number, candidate = following
        scheduler.complete(number, {"AP": 9.0, "steps": None}, stopped=candidate.origin == "random")
    assert sum(trial.candidate.origin == "random" for trial in scheduler.journal.trials()) == 30
    assert status(config, scheduler.journal.trials(), live=False)["training_steps"] == {}


def test_a_baseline_that_is_counted_in_candidates_from_now_on_takes_none_from_the_search(tmp_path, path):
    config = baseline_config(tmp_path)
    scheduler = TrialScheduler(config, Journal(path, writable=True), lambda trial: None)
    for _ in range(50):
        number, candidate = scheduler.next()
        stopped = candidate.origin == "random"
        scheduler.complete(number, {"AP": 9.0, "steps": 1 if stopped else STEPS}, stopped=stopped)
    drawn = sum(trial.candidate.origin == "random" for trial in scheduler.journal.trials())
    assert drawn > 30
    again = TrialScheduler(replace(config, random_budget="trials"), Journal(path, writable=True), lambda trial: None)
    while again.left and (following := again.next()) is not None:
        again.complete(following[0], {"AP": 9.0, "steps": STEPS})
    origins = Counter(trial.candidate.origin for trial in Journal(path).trials())
    assert (origins["random"], origins["search"]) == (drawn, 30)
