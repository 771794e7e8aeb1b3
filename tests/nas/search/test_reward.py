"""Rewards from metrics, and configurations of them that make no sense."""

from __future__ import annotations

import math

import pytest

from nas.configuration import ConfigError, from_dict
from nas.search.reward import RewardConfig, RewardError, objectives_of, reward_of

METRICS = {"AP": 40.0, "AP50": 60.0, "params": 80_000, "macs": 2e7, "latency_ms": 3.0}


def test_the_default_is_the_papers_ap():
    assert reward_of(RewardConfig(), METRICS) == 40.0
    assert reward_of(RewardConfig(metric="AP50"), METRICS) == 60.0
    assert objectives_of(RewardConfig(), METRICS) is None


@pytest.mark.parametrize(
    ("cost", "target", "factor"),
    [("macs", 2e7, 1.0), ("macs", 1e7, 2**-0.07), ("params", 160_000, 2**0.07), ("latency_ms", 1.5, 2**-0.07)],
)
def test_mnasnet_weighs_ap_by_cost_over_target(cost, target, factor):
    config = RewardConfig(objective="mnasnet", cost=cost, target=target)
    assert reward_of(config, METRICS) == pytest.approx(40.0 * factor)


def test_twice_the_cost_is_worth_five_percent_of_ap():
    """The rule from which MnasNet's section 3.1 takes its exponent."""
    config = RewardConfig(objective="mnasnet", cost="latency_ms", target=3)
    slow = reward_of(config, {"AP": 42.0, "latency_ms": 6.0})
    assert slow == pytest.approx(reward_of(config, METRICS), rel=1e-3)


def test_mnasnet_refuses_a_negative_metric_of_which_it_would_reward_the_cost():
    config = RewardConfig(objective="mnasnet", metric="margin", target=2e7)
    with pytest.raises(RewardError, match=r"margin is -0.5; mnasnet needs a metric of 0 or more"):
        reward_of(config, {**METRICS, "margin": -0.5})
    assert reward_of(config, {**METRICS, "margin": 0.0}) == 0


def test_pareto_gives_two_numbers_to_maximise_and_ranks_by_ap():
    config = RewardConfig(objective="pareto", cost="latency_ms")
    assert objectives_of(config, METRICS) == (40.0, -3.0)
    assert reward_of(config, METRICS) == 40.0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"objective": "mnasnet"}, "mnasnet needs a target for macs"),
        ({"target": 1e7}, "target is only for the objective mnasnet; leave it out with ap"),
        ({"objective": "pareto", "target": 1e7}, "leave it out with pareto"),
        ({"objective": "mnasnet", "target": 0}, "target: .*greater than 0"),
        ({"objective": "mnasnet", "target": 1, "exponent": 0.07}, "exponent: .*less than or equal to 0"),
        ({"objective": "map"}, "objective must be one of ap, mnasnet, pareto, or a reference"),
        ({"metric": ""}, "metric: "),
        ({"costs": "macs"}, "did you mean 'cost'"),
    ],
)
def test_configurations_that_make_no_sense_are_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        from_dict(RewardConfig, fields)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({**METRICS, "AP": math.nan}, "AP is nan"),
        ({"macs": 1}, "AP was not measured"),
        ({**METRICS, "macs": 0}, "macs is 0.0; mnasnet needs a positive cost"),
        ({**METRICS, "macs": None}, "macs was not measured"),
    ],
)
def test_metrics_without_a_reward_say_what_is_missing(metrics, message):
    with pytest.raises(RewardError, match=message):
        reward_of(RewardConfig(objective="mnasnet", target=1e7), metrics)


@pytest.mark.parametrize(
    ("fields", "value", "text"),
    [
        ({}, 43.849, "43.8"),
        ({}, -0.04, "0.0"),
        ({"objective": "mnasnet", "target": 1e7}, 41.26, "41.3"),
        ({"metric": "margin"}, -0.163077, "-0.163"),
        ({"metric": "score"}, 12345.6, "12,346"),
        ({"objective": "mine.py:reward"}, 0.00123456, "0.00123"),
    ],
)
def test_average_precisions_have_one_decimal_and_other_rewards_three_figures(fields, value, text):
    assert RewardConfig(**fields).shown(value) == text
    assert RewardConfig(**fields).shown(value, signed=True) == (text if text.startswith("-") else f"+{text}")
