"""The confirmation of a search: who is trained again, how often, and what is claimed in the end; no Ray."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from nas.configuration import ConfigError, from_dict, override
from nas.data.config import DataConfig
from nas.engine.scheduler import TrialScheduler
from nas.runs.journal import Journal
from nas.runs.run_directory import RunDirectory
from nas.search.config import SearchConfig
from nas.search.confirmation import FIRST_ROUNDS, Confirmation, ConfirmConfig, Verdict
from nas.search.records import Candidate, Trial
from search_space import NasFpnSpace
from tests.support.toy_search import toy_config

NOISE = 0.9
SPACE = NasFpnSpace()


def trial(number: int, origin: str, reward: float | None, genotype=None) -> Trial:
    genotype = genotype or SPACE.sample(random.Random(number))
    return Trial(
        number=number,
        candidate=Candidate(origin=origin, genotype=genotype),
        state="failed" if reward is None else "complete",
        reward=reward,
        metrics={},
        error=None,
        copied_from=None,
        order=number,
    )


class Simulated:
    """A finished search over necks whose true rewards are known, and trainings of them with seeds of their own."""

    def __init__(self, found: list[float], known: list[float], seed: int, noise: float = NOISE) -> None:
        self.rng, self.noise = np.random.default_rng(seed), noise
        self.truth = dict(enumerate([*known, *found]))
        origins = [f"known:{k}" for k in range(len(known))] + ["search"] * len(found)
        self.trials = [trial(number, origin, self.train(number)) for number, origin in enumerate(origins)]

    def train(self, number: int) -> float:
        return self.truth[number] + self.noise * float(self.rng.standard_normal())

    def confirm(self, config: ConfirmConfig) -> Confirmation:
        while (chosen := Confirmation(config, self.trials).next()) is not None:
            again = trial(
                len(self.trials), f"confirm:{chosen.number}", self.train(chosen.number), chosen.candidate.genotype
            )
            self.trials.append(again)
        return Confirmation(config, self.trials)

    def verdict(self, config: ConfirmConfig) -> tuple[Verdict, float]:
        """With the true gain of the neck that it names over the best known one."""
        verdict = self.confirm(config).verdict()
        assert verdict is not None
        known = max(value for number, value in self.truth.items() if self.trials[number].candidate.is_known)
        return verdict, self.truth[verdict.best_found.trial.number] - known


def test_contenders_are_the_best_observed_found_and_known_necks():
    search = Simulated([40, 50, 45, 60], [30, 55, 52], seed=0, noise=0)
    search.confirm(ConfirmConfig(found=2, known=2, trainings=8))
    confirmed = {trial.candidate.confirms for trial in search.trials} - {None}
    assert {search.truth[number] for number in confirmed} == {60, 50, 55, 52}


def test_a_function_that_was_scored_twice_contends_once():
    search = Simulated([40, 50], [30], seed=0, noise=0)
    twin = search.trials[2].candidate.genotype
    search.trials.append(trial(3, "search", 49.0, twin))
    confirmation = Confirmation(ConfirmConfig(found=3, known=1, trainings=8), search.trials)
    assert confirmation.left == 8
    search.truth[3] = 49.0
    search.confirm(ConfirmConfig(found=3, known=1, trainings=8))
    assert {trial.candidate.confirms for trial in search.trials} == {None, 0, 1, 2}


def test_all_are_trained_twice_then_those_in_contention_until_the_budget_is_spent():
    config = ConfirmConfig(found=3, known=2, trainings=16)
    search = Simulated([50, 40, 39], [45, 30], seed=1, noise=0.3)
    confirmation = search.confirm(config)
    counts = Counter(trial.candidate.confirms for trial in search.trials if trial.candidate.confirms is not None)
    assert (confirmation.left, counts.total()) == (0, 16)
    assert counts == {2: 5, 0: 5, 3: 2, 4: 2, 1: 2}


def test_a_round_is_waited_for():
    search = Simulated([50, 40], [45], seed=0)
    config = ConfirmConfig(found=2, known=1, trainings=9)
    begun = []
    while (chosen := Confirmation(config, [*search.trials, *begun]).next()) is not None:
        number = len(search.trials) + len(begun)
        begun.append(
            replace(trial(number, f"confirm:{chosen.number}", None, chosen.candidate.genotype), state="running")
        )
    assert len(begun) == FIRST_ROUNDS * 3
    assert Confirmation(config, [*search.trials, *begun]).left == 9
    assert Confirmation(config, [*search.trials, *begun]).verdict() is None


def test_the_answer_does_not_depend_on_the_order_of_finishing():
    search = Simulated([50, 49, 48], [49, 47], seed=3)
    config = ConfirmConfig(found=3, known=2, trainings=14)
    verdict = search.confirm(config).verdict()
    shuffled = [replace(trial, order=-trial.number) for trial in search.trials]
    assert Confirmation(config, shuffled).verdict().gain == verdict.gain


def test_a_contender_whose_training_fails_is_out():
    search = Simulated([50, 40], [45], seed=0)
    config = ConfirmConfig(found=2, known=1, trainings=9)
    search.trials.append(trial(3, "confirm:1", None, search.trials[1].candidate.genotype))
    search.truth[3] = 0.0
    verdict = search.confirm(config).verdict()
    assert {standing.trial.number for standing in verdict.standings} == {0, 2}
    assert Confirmation(config, search.trials).left == 0


def test_nothing_is_left_to_confirm_where_all_known_necks_fail():
    search = Simulated([50], [45], seed=0)
    search.trials.append(trial(2, "confirm:0", None))
    confirmation = Confirmation(ConfirmConfig(found=1, known=1, trainings=4), search.trials)
    assert (confirmation.left, confirmation.next(), confirmation.verdict()) == (0, None, None)


@pytest.mark.parametrize(("found", "known"), [([], [45.0]), ([45.0], [])])
def test_nothing_is_confirmed_where_there_is_nobody_to_compare(found, known):
    confirmation = Simulated(found, known, seed=0).confirm(ConfirmConfig(trainings=16))
    assert (confirmation.left, confirmation.verdict()) == (0, None)


def test_more_trainings_go_on_from_those_there_are():
    search = Simulated([50, 49], [48], seed=5)
    search.confirm(ConfirmConfig(found=2, known=1, trainings=6))
    before = len(search.trials)
    assert search.confirm(ConfirmConfig(found=2, known=1, trainings=10)).left == 0
    assert len(search.trials) == before + 4


def test_contenders_that_an_extension_adds_are_trained_though_the_others_spent_the_budget():
    search = Simulated([50, 49], [48], seed=5)
    config = ConfirmConfig(found=3, known=1, trainings=10)
    assert search.confirm(config).left == 0
    number = len(search.trials)
    search.truth[number] = 47.0
    search.trials.append(trial(number, "search", 47.0))
    assert Confirmation(config, search.trials).left == FIRST_ROUNDS
    extended = search.confirm(config)
    assert (extended.left, sum(t.candidate.confirms == number for t in search.trials)) == (0, FIRST_ROUNDS)
    assert len(extended.verdict().standings) == 4


def test_equal_rewards_make_a_verdict():
    verdict, _ = Simulated([50, 50], [40], seed=0, noise=0).verdict(ConfirmConfig(found=2, known=1, trainings=6))
    assert verdict.is_better
    assert verdict.gain == pytest.approx(10, abs=0.1)


def test_claims_hold_and_intervals_cover_the_truth():
    """Finalists chosen by luck among 40 equal ones are not claimed; good ones are, and by no more than is true."""
    config = ConfirmConfig(trainings=16)
    equal = [Simulated([0.0] * 40, [0.0, -0.5], seed).verdict(config) for seed in range(20)]
    assert sum(verdict.is_better for verdict, _ in equal) <= 3
    draws = [np.random.default_rng(seed).normal(0, 1, 40).tolist() for seed in range(20)]
    better = [Simulated(draw, [0.0, -0.5], seed).verdict(config) for seed, draw in enumerate(draws)]
    claimed = [gain for verdict, gain in better if verdict.is_better]
    assert len(claimed) >= 6
    assert all(gain > 0 for gain in claimed)
    covered = [verdict.gain_low <= gain <= verdict.gain_high for verdict, gain in (*equal, *better)]
    assert np.mean(covered) >= 0.85


@pytest.mark.parametrize("assignment", ["confirm.trainings=15", "confirm.trainings=-1", "confirm.found=0"])
def test_too_few_trainings_are_refused(tmp_path, assignment):
    with pytest.raises(ConfigError, match="confirm"):
        override(replace(toy_config(tmp_path), confirm=ConfirmConfig(trainings=16)), [assignment])


def test_the_message_says_what_to_do():
    with pytest.raises(ConfigError, match=r"6 found and 2 known necks take 16 trainings or more.*confirm.trainings=0"):
        from_dict(ConfirmConfig, {"trainings": 3})


def finish(scheduler: TrialScheduler, noise: random.Random, most: int | None = None) -> None:
    while scheduler.left and (most is None or most > 0):
        following = scheduler.next()
        assert following is not None
        number, candidate = following
        ap = int(candidate.genotype.fingerprint, 16) % 1000 / 100 + noise.random()
        scheduler.complete(number, {"AP": ap, "params": 1, "macs": 1, "latency_ms": 1.0})
        most = None if most is None else most - 1


def test_a_plan_ends_with_the_confirmation_and_goes_on_in_it(tmp_path):
    config = toy_config(tmp_path, trials=5, confirm=ConfirmConfig(found=2, known=1, trainings=8))
    path = tmp_path / "journal.log"
    scheduler = TrialScheduler(config, Journal(path, writable=True), lambda trial: None)
    assert (scheduler.total, scheduler.left) == (17, 17)
    finish(scheduler, random.Random(0), most=12)
    again = TrialScheduler(config, Journal(path, writable=True), lambda trial: None)
    assert (again.total, again.left) == (17, 5)
    number, candidate = again.next()
    assert candidate.confirms is not None
    cut_off = TrialScheduler(config, Journal(path, writable=True), lambda trial: None)
    assert cut_off.next() == (number, candidate)
    cut_off.complete(number, {"AP": 1.0})
    finish(cut_off, random.Random(1))
    trials = Journal(path).trials()
    assert [trial.candidate.confirms is not None for trial in trials] == [False] * 9 + [True] * 8
    assert cut_off.left == 0
    assert len({trial.candidate.proposal for trial in trials if trial.candidate.origin == "search"}) == 5


def test_a_confirmed_search_is_extended_by_candidates_and_confirmed_again(tmp_path):
    config = toy_config(tmp_path, trials=3, confirm=ConfirmConfig(found=2, known=1, trainings=6))
    path = tmp_path / "journal.log"
    finish(TrialScheduler(config, Journal(path, writable=True), lambda trial: None), random.Random(0))
    more = replace(config, trials=6)
    scheduler = TrialScheduler(more, Journal(path, writable=True), lambda trial: None)
    assert scheduler.left == 9
    finish(scheduler, random.Random(1))
    trials = Journal(path).trials()
    assert sum(trial.candidate.origin == "search" for trial in trials) == 6
    assert Confirmation(more.confirm, trials).verdict() is not None


def test_a_run_of_a_version_without_a_confirmation_has_none(tmp_path):
    """Its `config.json` has no such field: nothing is missing from a search that was finished then."""
    config = toy_config(tmp_path)
    run = RunDirectory(tmp_path / "run")
    with run.claim(config):
        pass
    record = json.loads(run.config_file.read_text())
    del record["config"]["confirm"]
    run.config_file.write_text(json.dumps(record))
    assert run.read_config().confirm.trainings == 0
    assert SearchConfig(name="new", data=DataConfig(root="data")).confirm.trainings > 0
