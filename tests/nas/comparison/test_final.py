"""Which necks are trained in full, at which width, and what is said of them."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

import pytest
from scipy.stats import t

from nas.comparison.equal_cost import Contender, at_goal, sized
from nas.comparison.final import MACS_TOLERANCE, contenders, final_jobs, margin, off_goal, standings
from nas.comparison.necks import NamedNeck, diverse_necks
from nas.comparison.training_job import Result
from nas.data.config import DataConfig, SignsConfig
from nas.errors import UserError
from nas.search.confirmation import ConfirmConfig
from nas.search.records import Candidate, Trial
from search_space import KNOWN, known_genotype
from tests.support.made_up_trainings import CONFIG, filled, metrics


def trial(number: int, origin: str, neck: NamedNeck, reward: float | None, state: str = "complete") -> Trial:
    return Trial(
        number=number,
        candidate=Candidate(origin=origin, genotype=neck.topology),
        state=state,
        reward=reward,
        metrics={},
        error=None,
        copied_from=None,
        order=number,
    )


@pytest.fixture(scope="module")
def trials() -> list[Trial]:
    necks = diverse_necks(CONFIG, 22)
    known = [trial(i, f"known:{neck.label}", neck, 10.0 + i) for i, neck in enumerate(necks[:3])]
    rest = [neck for neck in necks if neck.group == "random"]
    found = [trial(10 + i, "search", neck, 30.0 + i) for i, neck in enumerate(rest[:5])]
    drawn = [trial(20 + i, "random", neck, 20.0 + i) for i, neck in enumerate(rest[5:9])]
    again = trial(30, "search", rest[4], 90.0)
    bad = [trial(31, "search", rest[9], None, "failed"), trial(32, "search", rest[10], 99.0, "stopped")]
    return [*known, *found, *drawn, again, *bad]


def test_the_best_of_each_kind_stand_and_none_twice(trials):
    chosen = contenders(CONFIG, trials, 2)
    assert {neck.label for neck in chosen if neck.group == "known"} == set(list(KNOWN)[:3])
    assert [neck.label for neck in chosen if neck.group != "known"] == [
        "found 1 (trial 30)",
        "found 2 (trial 13)",
        "random 1 (trial 23)",
        "random 2 (trial 22)",
    ]


def test_the_answer_of_the_confirmation_comes_before_what_was_observed_higher(trials):
    config = replace(CONFIG, confirm=ConfirmConfig(trainings=8, found=3, known=1))
    necks = {one.number: NamedNeck("", "", one.candidate.genotype) for one in trials}
    rewards = {30: (31, 30), 13: (20, 21), 12: (80, 81), 2: (12, 12)}
    again = [
        trial(100 + 2 * number + index, f"confirm:{number}", necks[number], reward)
        for number, own in rewards.items()
        for index, reward in enumerate(own)
    ]
    labels = [neck.label for neck in contenders(config, [*trials, *again], 4) if neck.group == "found"]
    assert labels == ["found 1 (trial 12)", "found 2 (trial 30)", "found 3 (trial 13)", "found 4 (trial 11)"]


def test_a_search_without_a_finished_candidate_is_a_clear_error(trials):
    with pytest.raises(UserError, match="no finished candidate of its own"):
        contenders(CONFIG, [one for one in trials if one.candidate.is_known], 2)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    data = DataConfig(root=str(tmp_path_factory.mktemp("d") / "signs"), embedded=SignsConfig(train=8, reward=4, test=4))
    return replace(CONFIG, data=data)


def test_widths_make_multiply_adds_equal(config):
    necks = [neck for neck in diverse_necks(config, 18) if neck.label != "none"]
    entries = sized(config, necks)
    goal = statistics.median(entry.macs for entry in sized(config, necks, same_width=True))
    assert len({entry.channels for entry in entries}) > 1
    assert {entry.channels for entry in sized(config, necks, same_width=True)} == {config.proxy.neck.channels}
    assert all(abs(entry.macs - goal) <= MACS_TOLERANCE * goal for entry in entries)


def test_necks_that_join_later_do_not_move_the_goal(config):
    necks, more = (
        [NamedNeck(name, "known", known_genotype(name)) for name in names]
        for names in (("fpn", "bifpn", "nas_fpn"), ("quad_fpn", "pan"))
    )
    entries = sized(config, [*necks, *more], goal_of=necks)
    assert entries[:3] == sized(config, necks)
    assert sized(config, [*necks, *more])[:3] != entries[:3]
    assert all(entry.channels < config.proxy.neck.channels for entry in entries[3:])


@pytest.mark.parametrize("name", ["efm", "asff", "balanced_fpn", "nas_fpn@mmdet"])
def test_a_neck_by_name_gets_the_width_of_equal_multiply_adds(config, name):
    necks = [NamedNeck(known, "known", known_genotype(known)) for known in ("fpn", "bifpn", "nas_fpn")]
    entries = sized(config, [*necks, NamedNeck(name, "known", name)], goal_of=necks)
    goal = statistics.median(entry.macs for entry in sized(config, necks, same_width=True))
    assert abs(entries[-1].macs - goal) <= MACS_TOLERANCE * goal


def test_widths_that_a_neck_cannot_have_are_passed_over(config):
    """MLFPN has 8 TUMs, so its width is a multiple of 16."""
    entry = sized(config, [NamedNeck("mlfpn", "known", "mlfpn"), NamedNeck("fpn", "known", known_genotype("fpn"))])[0]
    assert entry.channels % 16 == 0
    odd = replace(config, proxy=replace(config.proxy, neck=replace(config.proxy.neck, channels=34)))
    with pytest.raises(UserError, match=r"mlfpn cannot be compared .* multiple of"):
        sized(odd, [NamedNeck("mlfpn", "known", "mlfpn")], same_width=True)


def test_a_neck_that_this_pyramid_cannot_have_is_one_line(config):
    with pytest.raises(UserError, match=r"asff@yolov3 cannot be compared in this search: .* levels it takes"):
        sized(config, [NamedNeck("asff@yolov3", "known", "asff@yolov3")])


def test_a_neck_of_nothing_is_made_as_wide_as_it_takes(config):
    necks = [NamedNeck(name, "known", known_genotype(name)) for name in ("none", "quad_fpn", "bifpn")]
    entries = sized(config, necks)
    widths = {entry.neck.label: entry.channels for entry in entries}
    assert widths["none"] > widths["bifpn"] >= widths["quad_fpn"]


def test_standings_are_means_with_intervals_the_best_first(config, tmp_path):
    necks = [NamedNeck(name, "known", known_genotype(name)) for name in ("fpn", "bifpn", "pafpn")]
    jobs = final_jobs(config, config.proxy, sized(config, necks), 3)
    flat = [job for own in jobs.values() for job in own]
    assert {job.split for job in flat} == {"test"}
    aps = {"fpn": (30, 31, 32), "bifpn": (40, 40, 40)}

    def score(job):
        values = aps.get(job.label)
        return Result(None, "loss is nan") if values is None else Result(metrics(values[job.seed]))

    found, failed = standings(jobs, filled(tmp_path, flat, score))
    assert [entry.contender.neck.label for entry in found] == ["bifpn", "fpn"]
    assert failed == {"pafpn": "loss is nan"}
    assert (found[0].mean, found[0].margin) == (40, 0)
    assert (found[1].mean, found[1].aps) == (31, (30, 31, 32))
    assert not any(off_goal(entry, found) for entry in found)
    wide = replace(found[0], contender=replace(found[0].contender, macs=2 * found[0].contender.macs))
    assert off_goal(wide, [wide, found[1], found[1]])


@pytest.mark.parametrize("count", [2, 3, 5, 10, 15])
def test_the_interval_is_students(count):
    values = [1.0 * i * i for i in range(count)]
    expected = t.ppf(0.975, count - 1) * statistics.stdev(values) / math.sqrt(count)
    assert margin(values) == pytest.approx(expected, rel=1e-3)


def test_one_value_has_no_interval():
    assert margin([1.0]) == math.inf
    many = [float(i % 7) for i in range(200)]
    assert margin(many) == pytest.approx(t.ppf(0.975, 199) * statistics.stdev(many) / math.sqrt(200), rel=0.1)


@pytest.mark.parametrize(("start", "goal", "expected"), [(32, 25.9, 42), (46, 25.9, 42), (32, 21.2, 38), (4, 1.15, 4)])
def test_widths_are_searched_past_the_one_where_a_convolution_falls_away(start, goal, expected):
    """At 40 channels, those of a backbone map, the multiply-adds are fewer than at 38."""
    macs = {4: 1.2, 36: 19.0, 38: 21.3, 40: 20.9, 42: 25.8, 44: 28.0, 46: 30.5}

    def costs(neck, channels):
        return macs.get(channels, channels / 2)

    neck = NamedNeck("fpn", "known", known_genotype("fpn"))
    assert at_goal(Contender(neck, start, costs(neck, start)), costs, goal, 2).channels == expected
