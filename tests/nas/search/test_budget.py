"""Budgets of time, GPU time and reward: when a search proposes no more, and what it tells of that."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from nas.configuration import ConfigError, override
from nas.engine import proposers
from nas.engine.scheduler import TrialScheduler
from nas.results.summary import candidates, status
from nas.runs.journal import Journal
from nas.search.budget import Budget, BudgetConfig, worked_seconds
from nas.search.config import ResourceConfig, SearchConfig
from nas.search.confirmation import ConfirmConfig
from nas.search.records import Candidate, Trial
from search_space import known
from tests.support.toy_search import toy_config

MINUTE = 60.0
CONFIRM = ConfirmConfig(trainings=6, found=2, known=1)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    """The clock of a search, which the test moves."""
    clock = Clock()
    monkeypatch.setattr(proposers.time, "monotonic", clock)
    return clock


def trial(number: int, end: float | None, seconds: float | None = MINUTE, reward: float | None = 1.0) -> Trial:
    return Trial(
        number=number,
        candidate=Candidate(origin="search", genotype=known.fpn(), proposal=number),
        state="complete",
        reward=reward,
        metrics={} if seconds is None else {"seconds": seconds},
        error=None,
        copied_from=None,
        order=number,
        ended=end,
    )


def run(scheduler: TrialScheduler, clock: Clock, seconds: float, most: int = 1000) -> list[Trial]:
    """Train one trial after the other, each of so many seconds; returns all, as if they had taken so long."""
    rng = random.Random(0)
    ends = {}
    scheduler.proposers.budget.start()
    for _ in range(most):
        if (following := scheduler.next()) is None:
            break
        clock.now += seconds
        ends[following[0]] = clock.now
        scheduler.complete(following[0], {"AP": rng.uniform(10, 20), "seconds": seconds})
    return [replace(trial, ended=ends.get(trial.number)) for trial in scheduler.journal.trials()]


def begun(tmp_path, **budget: float) -> TrialScheduler:
    config = toy_config(tmp_path, trials=10**6, confirm=CONFIRM, budget=BudgetConfig(**budget))
    return TrialScheduler(config, Journal(tmp_path / "journal.log", writable=True), lambda trial: None)


def test_seconds_worked_are_those_in_which_any_trial_was_in_work():
    side_by_side = [trial(0, 100, 60), trial(1, 110, 50)]
    after_a_pause = [trial(2, 1000, 30), trial(3, None), trial(4, 1001, None)]
    assert worked_seconds(side_by_side) == 70
    assert worked_seconds(side_by_side + after_a_pause) == 100
    assert worked_seconds([]) == 0


def test_a_search_of_an_hour_takes_an_hour_its_confirmation_included(tmp_path, clock):
    start = clock.now
    scheduler = begun(tmp_path, hours=1)
    trials = run(scheduler, clock, MINUTE)
    assert 57 * MINUTE <= clock.now - start <= 60 * MINUTE
    assert sum(t.candidate.kind == "confirmation" for t in trials) == 6
    assert scheduler.left == 0
    told = status(scheduler.config, trials, live=False)
    assert (told["state"], told["total"]) == ("finished", len(trials))


def test_a_search_that_is_not_done_says_how_many_trials_there_is_time_for(tmp_path, clock):
    scheduler = begun(tmp_path, hours=1)
    run(scheduler, clock, MINUTE, most=10)
    assert 45 <= scheduler.left <= 50
    assert scheduler.total == scheduler.left + 10


def test_killed_in_its_confirmation_a_search_proposes_no_more(tmp_path, clock):
    scheduler = begun(tmp_path, hours=1)
    trials = run(scheduler, clock, MINUTE, most=57)
    proposed = [t for t in trials if t.candidate.kind == "proposed"]
    budget = scheduler.config.budget_of(trials, clock)
    assert trials[-1].candidate.kind == "confirmation"
    assert budget.is_spent
    assert not scheduler.config.budget_of(proposed[:40], clock).is_spent
    more = replace(scheduler.config, budget=BudgetConfig(hours=2))
    assert not more.budget_of(trials, clock).is_spent


def test_pauses_between_two_starts_do_not_count(tmp_path, clock, monkeypatch):
    run(begun(tmp_path, hours=1), clock, MINUTE, most=20)
    clock.now += 10_000
    monkeypatch.setattr("nas.search.config.Budget", lambda *args: budget_after(20 * MINUTE, *args))
    again = begun(tmp_path, hours=1)
    assert 57 <= len(run(again, clock, MINUTE)) <= 60


def budget_after(worked: float, *args: object) -> Budget:
    """The journal of a test is written in no time; it is as if its trials had taken so long."""
    budget = Budget(*args)
    budget._worked_before = worked
    return budget


def test_gpu_hours_are_those_of_all_trials(tmp_path, clock):
    fields = {"budget": BudgetConfig(gpu_hours=0.25), "resources": ResourceConfig(gpus=0.5)}
    config = toy_config(tmp_path, trials=10**6, confirm=CONFIRM, **fields)
    scheduler = TrialScheduler(config, Journal(tmp_path / "journal.log", writable=True), lambda trial: None)
    assert 28 <= len(run(scheduler, clock, MINUTE)) <= 30


def run_side_by_side(scheduler: TrialScheduler, clock: Clock, seconds: float, workers: int) -> int:
    """So many workers, each a little later than the one before it; the number of trials that they train."""
    scheduler.proposers.budget.start()
    working: list[tuple[int, float]] = []
    count = 0
    while True:
        while len(working) < workers and (following := scheduler.next()) is not None:
            working.append((following[0], clock.now + seconds))
            clock.now += 0.01 * seconds
            count += 1
        if not working:
            return count
        number, clock.now = working[0][0], max(clock.now, working[0][1])
        scheduler.complete(number, {"AP": 15 - 0.01 * number, "seconds": seconds})
        del working[0]


def test_trials_at_once_are_counted_before_they_end(tmp_path, clock):
    """Eight workers have time for 48 trials; by the first that ends, one worker would have none after its
    confirmation."""
    start = clock.now
    count = run_side_by_side(begun(tmp_path, hours=1), clock, 10 * MINUTE, workers=8)
    assert 40 <= count <= 48
    assert clock.now - start <= 72 * MINUTE


def test_gpu_hours_of_trials_in_work_are_spent(tmp_path, clock):
    fields = {"budget": BudgetConfig(gpu_hours=1), "resources": ResourceConfig(gpus=1)}
    config = toy_config(tmp_path, trials=10**6, confirm=CONFIRM, **fields)
    scheduler = TrialScheduler(config, Journal(tmp_path / "journal.log", writable=True), lambda trial: None)
    assert 57 <= run_side_by_side(scheduler, clock, MINUTE, workers=8) <= 60


def test_a_known_neck_that_a_controller_proposes_has_not_reached_the_reward():
    def spent(*trials: Trial) -> bool:
        return Budget(BudgetConfig(until=15), 0, 0, 10, trials).is_spent

    neck = replace(trial(0, None, reward=16), candidate=Candidate(origin="known:fpn", genotype=known.fpn()))
    twin = replace(trial(1, None, reward=16), copied_from=0)
    other = replace(twin, number=2, candidate=replace(twin.candidate, genotype=known.bifpn()), copied_from=None)
    assert not spent(neck, twin)
    assert spent(neck, twin, other)


def test_a_confirmed_search_of_which_more_trials_are_wanted_is_not_finished(tmp_path, clock):
    config = toy_config(tmp_path, trials=3, confirm=CONFIRM)
    trials = run(TrialScheduler(config, Journal(tmp_path / "journal.log", writable=True), lambda trial: None), clock, 1)
    assert status(config, trials, live=False)["state"] == "finished"
    told = status(replace(config, trials=10), trials, live=False)
    assert (told["state"], told["total"]) == ("interrupted", len(trials) + 7 + CONFIRM.trainings)


def test_a_reward_ends_the_search_once_a_candidate_has_it(tmp_path, clock):
    scheduler = begun(tmp_path, until=19.0)
    run(scheduler, clock, MINUTE)
    rewards = [t.reward for t in scheduler.journal.trials() if t.candidate.origin in ("random", "search")]
    assert rewards[-1] >= 19
    assert max(rewards[:-1]) < 19


def test_known_necks_are_scored_however_small_the_budget(tmp_path, clock):
    scheduler = begun(tmp_path, hours=0.001)
    run(scheduler, clock, MINUTE)
    assert [t.candidate.origin for t in scheduler.journal.trials()] == ["known:fpn", "known:nas_fpn"]
    assert scheduler.left == 0


def test_a_later_start_with_more_time_goes_on(tmp_path, clock):
    run(begun(tmp_path, until=15.0), clock, MINUTE)
    before = len(Journal(tmp_path / "journal.log").trials())
    scheduler = begun(tmp_path, until=19.9)
    run(scheduler, clock, MINUTE)
    assert len(scheduler.journal.trials()) > before


def test_the_number_of_trials_holds_as_well(tmp_path, clock):
    config = toy_config(tmp_path, trials=3, confirm=CONFIRM, budget=BudgetConfig(hours=100))
    scheduler = TrialScheduler(config, Journal(tmp_path / "journal.log", writable=True), lambda trial: None)
    run(scheduler, clock, MINUTE)
    assert sum(t.candidate.origin == "search" for t in scheduler.journal.trials()) == 3


@pytest.mark.parametrize("assignment", ["budget.hours=0", "budget.hours=-1", "budget.gpu_hours=0", 'budget.hours="2"'])
def test_budgets_that_are_none_are_refused(tmp_path, assignment):
    with pytest.raises(ConfigError, match=assignment.split("=")[0]):
        override(toy_config(tmp_path), [assignment])


def test_gpu_hours_of_trials_without_a_gpu_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"budget.gpu_hours needs trials on GPUs, but resources.gpus is 0"):
        override(toy_config(tmp_path), ["budget.gpu_hours=2"])


def test_the_first_line_says_what_ends_the_search(tmp_path):
    def said(**fields: object) -> str:
        return candidates(toy_config(tmp_path, **fields))

    endless = {"trials": 10**6}
    assert said(trials=4) == "4"
    assert said(trials=4, budget=BudgetConfig(hours=1)) == "up to 4"
    assert said(**endless, budget=BudgetConfig(hours=2)) == "as many as fit in 2 h"
    gpus = {"resources": ResourceConfig(gpus=1), "budget": BudgetConfig(hours=2, gpu_hours=4)}
    assert said(**endless, **gpus) == "as many as fit in 2 h and 4 GPU-hours"
    assert isinstance(toy_config(tmp_path), SearchConfig)
