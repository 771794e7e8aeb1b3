"""Limits on candidates: rejected ones are replaced, counted once, and never without end. No Ray."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from nas.engine.constraint_filter import UnsatisfiedError
from nas.engine.scheduler import TrialScheduler
from nas.runs.journal import Journal
from nas.runs.run_directory import RunDirectory, RunDirectoryError
from nas.search.config import ControllerConfig, SearchConfig
from nas.search.constraints import ConstraintConfig, static_cost, tightened, violations
from nas.search.records import Candidate, Trial
from search_space import Genotype, known_genotype
from tests.support.toy_search import latency_ms, toy_config

PLANNED = {"known:fpn": 1, "known:nas_fpn": 1, "random": 2, "search": 6}


def params(genotype: Genotype) -> int:
    """100 to 1,099, made up; fpn has 523 and nas_fpn 607 of them."""
    return int(genotype.fingerprint, 16) // 10 % 1000 + 100


def make_plan(config: SearchConfig, path: Path) -> TrialScheduler:
    def cost(config: SearchConfig):
        return lambda genotype, channels=8: {"params": params(genotype), "macs": 7}

    return TrialScheduler(config, Journal(path, writable=True), lambda trial: None, cost)


def finish(scheduler: TrialScheduler, number: int, candidate: Candidate) -> None:
    """What a worker would do."""
    genotype = candidate.genotype
    measured = {"params": params(genotype), "macs": 7, "latency_ms": latency_ms(genotype)}
    if not candidate.is_known and violations(scheduler.config.constraints, measured):
        scheduler.reject(number, measured)
    else:
        scheduler.complete(number, {"AP": 50.0, **measured})


def drive(config: SearchConfig, path: Path) -> list[Trial]:
    """The search with one worker."""
    scheduler = make_plan(config, path)
    if scheduler.left:
        scheduler.prepare()
    while (following := scheduler.next()) is not None:
        finish(scheduler, *following)
    assert (scheduler.left, scheduler.may_go_on) == (0, False)
    return scheduler.journal.trials()


def admitted(trials: list[Trial]) -> Counter[str]:
    return Counter(trial.candidate.origin for trial in trials if not trial.rejected)


def limited(tmp_path: Path, **limits: float) -> SearchConfig:
    return toy_config(tmp_path, constraints=ConstraintConfig(**limits))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.log"


def test_rejected_candidates_are_replaced_and_use_up_no_trial(tmp_path, path):
    config = limited(tmp_path, max_params=300)
    trials = drive(config, path)
    assert admitted(trials) == PLANNED
    rejected = [trial for trial in trials if trial.rejected]
    assert rejected
    for trial in trials:
        assert bool(trial.rejected) == (params(trial.candidate.genotype) > 300 and not trial.candidate.is_known)
    for trial in rejected:
        assert (trial.state, trial.reward, trial.rejected) == ("failed", None, ("max_params",))
        assert trial.error == f"constraint: {params(trial.candidate.genotype):,} params > max_params 300"
        assert trial.metrics == {"params": params(trial.candidate.genotype), "macs": 7}
    searched = make_plan(config, path).proposers.controllers["search"]
    assert searched.num_proposed == sum(trial.candidate.origin == "search" for trial in trials)
    assert not searched.pending, "the controller was told of the rejected ones"


def test_a_limit_that_nothing_keeps_ends_the_search_before_anything_is_trained(tmp_path, path):
    config = limited(tmp_path, max_params=1, max_macs=3)
    message = (
        r"last 100 candidates of the random controller were all rejected: 100 by max_params = 1 \(the smallest of them:"
        r" \d+ params\), 100 by max_macs = 3 \(the smallest of them: 7 MACs\). Raise constraints.max_params or"
    )
    for _ in range(2):
        with pytest.raises(UnsatisfiedError, match=message):
            drive(config, path)
        trials = Journal(path).trials()
        assert len(trials) == 100, "a second start must not try again what did not change"
        assert all(trial.rejected == ("max_params", "max_macs") for trial in trials)
    trials = drive(replace(config, constraints=ConstraintConfig(max_params=400)), path)
    assert admitted(trials) == PLANNED
    assert all(trial.rejected for trial in trials[:100])


def test_known_necks_go_first_though_another_was_found_before(tmp_path, path):
    scheduler = make_plan(limited(tmp_path, max_params=300), path)
    scheduler.prepare()
    assert [scheduler.next()[1].origin for _ in range(3)] == ["known:fpn", "known:nas_fpn", "random"]


def test_the_row_is_counted_on_after_a_kill_at_any_line(tmp_path, path):
    config = limited(tmp_path, max_params=1, max_rejections_in_a_row=6)
    with pytest.raises(UnsatisfiedError):
        drive(config, path)
    lines = path.read_text().splitlines(keepends=True)
    for count in range(2, len(lines)):
        cut = tmp_path / f"{count}.log"
        cut.write_text("".join(lines[:count]))
        with pytest.raises(UnsatisfiedError, match="last 6"):
            drive(config, cut)
        trials = [trial for trial in Journal(cut).trials() if not trial.candidate.is_known]
        assert len(trials) == 6
        assert all(trial.rejected for trial in trials)


@pytest.mark.parametrize("limits", [{"max_params": 500}, {"max_latency_ms": 5}])
def test_killed_among_rejections_it_goes_on_with_numbers_and_budget_right(tmp_path, path, limits):
    config = replace(limited(tmp_path, **limits), controller=ControllerConfig(name="random"))
    whole = drive(config, path)
    lines = path.read_text().splitlines(keepends=True)
    for count in range(2, len(lines) + 1, 4):
        cut = tmp_path / f"{count}.log"
        cut.write_text("".join(lines[:count]))
        before = [trial for trial in Journal(cut).trials() if trial.state != "running"]
        trials = drive(config, cut)
        assert [(t.candidate, t.rejected) for t in trials] == [(t.candidate, t.rejected) for t in whole]
        assert all(trials[trial.number] == trial for trial in before)


def test_a_place_is_kept_while_a_trial_in_work_may_be_too_slow(tmp_path, path):
    config = replace(limited(tmp_path, max_latency_ms=5), known=(), random_trials=0, trials=1)
    scheduler = make_plan(config, path)
    number, candidate = scheduler.next()
    assert (scheduler.next(), scheduler.may_go_on) == (None, True)
    scheduler.reject(number, {"latency_ms": 9.0})
    following = scheduler.next()
    assert following is not None
    scheduler.complete(following[0], {"AP": 1.0, "latency_ms": 2.0})
    assert (scheduler.next(), scheduler.may_go_on, scheduler.left, scheduler.total) == (None, False, 0, 1)
    again = make_plan(config, path)
    assert again.constraint_filter.check(candidate).reason == "constraint: 9 ms > max_latency_ms 5.0", (
        "it is not built again"
    )


@pytest.mark.parametrize("parked", [True, False])
def test_the_twin_of_a_known_neck_over_the_limit_is_rejected(tmp_path, path, parked):
    controller = ControllerConfig(name="random", initial=("nas_fpn",))
    changes = {"known": ("nas_fpn",), "random_trials": 0, "trials": 1, "controller": controller}
    scheduler = make_plan(replace(limited(tmp_path, max_latency_ms=5), **changes), path)
    number, _ = scheduler.next()
    slow = {"AP": 50.0, "latency_ms": 8.0}
    if parked:
        assert (scheduler.next(), scheduler.may_go_on) == (None, True)
    scheduler.complete(number, slow)
    scheduler.next()
    known, twin, other = scheduler.journal.trials()
    assert (known.reward, known.rejected) == (50.0, ())
    assert (twin.candidate.genotype, twin.rejected) == (known.candidate.genotype, ("max_latency_ms",))
    assert other.state == "running"


def test_limits_of_a_run_directory_may_be_relaxed_not_tightened(tmp_path):
    run = RunDirectory(tmp_path / "run")
    config = limited(tmp_path, max_params=300)
    with run.claim(config):
        Journal(run.journal_file, writable=True)
    for limits in ({"max_params": 299}, {"max_params": 300, "max_macs": 5}):
        tighter = run.claim(limited(tmp_path, **limits))
        with pytest.raises(RunDirectoryError, match=r"looser limits \(constraints.max_"), tighter:
            pass
    for limits in ({"max_params": 301}, {"max_params": 301, "max_rejections_in_a_row": 7}, {}):
        with run.claim(limited(tmp_path, **limits)):
            assert run.read_config().constraints == ConstraintConfig(**limits)


def test_tightened_names_what_changed():
    old = ConstraintConfig(max_params=10, max_macs=5)
    assert tightened(old, ConstraintConfig(max_params=9, max_latency_ms=2)) == [
        "constraints.max_params: 10 -> 9",
        "constraints.max_latency_ms: None -> 2.0",
    ]
    assert not tightened(old, ConstraintConfig(max_params=10))


@pytest.mark.parametrize("separable", [False, True])
def test_the_count_is_that_of_the_neck_which_is_trained(tmp_path, separable):
    from nas.detection.cost import neck_cost
    from nas.proxy.candidate import candidate_neck

    config = toy_config(tmp_path)
    neck_config = replace(config.proxy.neck, channels=16, separable=separable)
    config = replace(config, proxy=replace(config.proxy, image_size=160, neck=neck_config))
    shapes = {f"c{level}": (64 << (level - 2), 160 >> level, 160 >> level) for level in (3, 4, 5)}
    count = static_cost(config.proxy)
    for name in ("fpn", "nas_fpn", "bifpn"):
        neck = candidate_neck(known_genotype(name), (128, 256, 512), (3, 4, 5), neck_config)
        cost = neck_cost(neck, shapes)
        assert count(known_genotype(name)) == {"params": cost.params, "macs": cost.macs}
