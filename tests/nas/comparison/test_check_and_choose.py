"""What is said of a proxy, from trainings that were made up."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from nas.comparison.check import check, longer
from nas.comparison.choose import grid, judge, recommended
from nas.comparison.necks import diverse_necks
from nas.comparison.training_job import Result, TrainingJob
from nas.configuration import ConfigError
from nas.errors import UserError
from search_space import KNOWN, NasFpnSpace, PyramidSpace
from tests.support.made_up_trainings import CONFIG, filled, metrics, plan


def score_by(noise: float, spread: float = 5.0, *, only: int | None = None):
    """AP as the neck's truth and noise say; with `only`, the truth is told from so many steps on."""
    plans = plan()
    truth = {neck.topology.fingerprint: 20 + spread * index for index, neck in enumerate(plans.necks)}

    def score(job: TrainingJob) -> Result:
        rng = random.Random(f"{job.topology.fingerprint} {job.proxy.steps} {job.seed}")
        told = only is None or job.proxy.steps >= only
        value = truth[job.topology.fingerprint] if told else 40.0
        return Result(metrics(value + rng.gauss(0, noise), job.proxy.steps / 10))

    return score


def test_a_true_proxy_is_called_true(tmp_path):
    store = filled(tmp_path, plan().jobs(), score_by(0.5))
    result = check(plan(), store)
    assert result.ranks
    assert result.separates
    assert result.agreement.tau > 0.95
    assert result.proxy_std == pytest.approx(0.5, rel=0.5)
    assert (result.seconds, result.reference_seconds) == (10, 100)
    assert result.shares == {"loss": 0.25, "other": 0.75}


def test_a_blind_proxy_is_called_blind(tmp_path):
    result = check(plan(), filled(tmp_path, plan().jobs(), score_by(0.5, only=1000)))
    assert not result.ranks
    assert not result.separates


def test_a_neck_that_failed_is_left_out_and_named(tmp_path):
    victim = plan().necks[3]
    good = score_by(0.5)

    def score(job: TrainingJob) -> Result:
        failed = job.topology == victim.topology and job.seed == 3 and job.proxy.steps == 100
        return Result(None, "loss is nan") if failed else good(job)

    result = check(plan(), filled(tmp_path, plan().jobs(), score))
    assert result.failed == {victim.label: "loss is nan"}
    assert len(result.scores) == len(plan().necks) - 1


def test_nothing_but_failures_is_a_clear_error(tmp_path):
    store = filled(tmp_path, plan().jobs(), lambda job: Result(None, "out of memory"))
    with pytest.raises(UserError, match=r"only 0 of 14 necks .*out of memory"):
        check(plan(), store)


def test_the_long_training_has_no_warm_start():
    warm = replace(CONFIG.proxy, warm_steps=50)
    assert longer(warm, 2.5) == replace(CONFIG.proxy, steps=250)


def test_necks_are_all_known_ones_and_different_random_ones():
    necks = diverse_necks(CONFIG, 18, (NasFpnSpace(), PyramidSpace()))
    assert [neck.label for neck in necks[: len(KNOWN)]] == list(KNOWN)
    assert len({neck.topology.fingerprint for neck in necks}) == 18
    assert necks == diverse_necks(CONFIG, 18, (NasFpnSpace(), PyramidSpace()))
    assert necks != diverse_necks(replace(CONFIG, seed=1), 18, (NasFpnSpace(), PyramidSpace()))


def test_fewer_necks_than_known_ones_are_refused():
    with pytest.raises(ConfigError, match="at least that many, got 3"):
        diverse_necks(CONFIG, 3)


def test_a_space_that_is_too_small_is_a_clear_error():
    small = replace(CONFIG, proxy=replace(CONFIG.proxy, neck=replace(CONFIG.proxy.neck, levels=(3, 4, 5))))
    space = PyramidSpace(
        levels=(3, 4, 5), min_cells=3, max_cells=3, max_inputs=1, merges=("sum",), transforms=("conv",)
    )
    with pytest.raises(ConfigError, match="different necks, not 500"):
        diverse_necks(small, 500, (space,))


def test_a_grid_is_every_combination():
    settings = grid(CONFIG.proxy, ["steps=10,20", "neck.channels=8,16"])
    assert [str(setting) for setting in settings] == [
        "steps=10 neck.channels=8",
        "steps=10 neck.channels=16",
        "steps=20 neck.channels=8",
        "steps=20 neck.channels=16",
    ]
    assert settings[1].proxy == replace(CONFIG.proxy, steps=10, neck=replace(CONFIG.proxy.neck, channels=16))
    assert [setting.proxy.steps for setting in grid(CONFIG.proxy, [])] == [12, 25, 50, 100]


@pytest.mark.parametrize(
    ("variation", "message"),
    [("steps", "FIELD=VALUE"), ("steps=", "FIELD=VALUE"), ("step=3", "did you mean 'steps'"), ("steps=-1", "steps")],
)
def test_a_grid_that_makes_no_sense_is_refused(variation, message):
    with pytest.raises(ConfigError, match=message):
        grid(CONFIG.proxy, [variation])


def judged(tmp_path, score):
    settings = grid(CONFIG.proxy, ["steps=25,50,100"])
    plans = [replace(plan(), proxy=setting.proxy) for setting in settings]
    jobs = [*plan().reference_jobs(), *(job for one in plans for job in one.proxy_jobs())]
    return judge(plan(), settings, filled(tmp_path, jobs, score))


def test_the_cheapest_true_setting_is_recommended(tmp_path):
    rows = judged(tmp_path, score_by(0.2, only=50))
    assert [row.setting.proxy.steps for row in rows] == [25, 50, 100]
    assert [row.within for row in rows] == [False, True, True]
    assert recommended(rows)[0].setting.assignments == ("steps=50",)


def test_a_proxy_that_is_blank_is_not_taken_for_the_best(tmp_path):
    """Its tau is no number, and it is the cheapest."""

    def score(job: TrainingJob) -> Result:
        blank = job.proxy.steps == 25
        return Result(metrics(0.0, 1.0)) if blank else score_by(0.2, only=1000)(job)

    rows = judged(tmp_path, score)
    assert rows[0].result.separation == 0
    assert not rows[0].within
    assert recommended(rows)[0].setting.proxy.steps != 25


def test_a_long_training_that_is_noise_judges_nothing(tmp_path):
    rows = judged(tmp_path, score_by(30.0, spread=0.1))
    assert not any(row.within or row.enough for row in rows)
    assert "does not agree with itself" in recommended(rows)[1]


def test_where_nothing_is_true_the_best_is_named_as_poor(tmp_path):
    entry, why = recommended(judged(tmp_path, score_by(0.2, only=1000)))
    assert not entry.within
    assert "none ranks well" in why
