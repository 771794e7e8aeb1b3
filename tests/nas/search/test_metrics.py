"""What a task may return for metrics: plain finite numbers come in, anything else fails its trial with the reason."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from nas.engine.callbacks import SearchCallbacks
from nas.engine.trial import Scored, TrialRequest
from nas.engine.worker import run_trial
from nas.plain_json import dumps
from nas.proxy.trial import Trained
from nas.search.constraints import ConstraintConfig, violations
from nas.search.metrics import MAX_VALUE, plain_metrics
from nas.search.records import Candidate
from nas.search.reward import RewardConfig, RewardError, reward_of
from search_space import known_genotype
from tests.support.toy_search import toy_config

GOOD = {"AP": 30.0, "params": 10, "macs": 20, "latency_ms": 1.5}
BAD = [
    ({"AP": math.nan}, "AP is nan"),
    ({"AP": math.inf}, "AP is inf"),
    ({"AP": 1e308}, "AP is 1e"),
    ({"AP": 100.5}, "AP is 100.5; an average precision is in percent, 0..100"),
    ({"AP": -1}, "AP is -1"),
    ({"AP": "30"}, "AP must be a number or None, got '30'"),
    ({"AP": True}, "AP must be a number or None, got True"),
    ({"AP": [30.0]}, r"AP must be a number or None, got \[30.0\]"),
    ({"AP": torch.ones(2)}, "AP must be a number"),
    ({"AP": torch.tensor(float("nan"))}, "AP is nan"),
    ({"AP/cat": 1e9}, "AP/cat is"),
    ({"macs": math.nan}, "macs is nan"),
    ({"latency_ms": math.inf}, "latency_ms is inf"),
    ({"params": -1}, "params is -1; a cost is not negative"),
    ({"loss": 1e308}, "loss is 1e"),
    ({"loss": 10**400}, "loss is"),
    ({"device": "cpu"}, "device must be a number or None, got 'cpu'"),
    ({"notes": {"a": 1}}, "notes must be a number"),
    ({"notes": object()}, "notes must be a number"),
    ({5: 1.0}, "names of metrics must be text, got 5"),
    ({"AP": None}, "AP was not measured"),
]


def outcome(tmp_path, metrics, **changes):
    config = toy_config(tmp_path, **changes)
    task = SimpleNamespace(run=lambda *_: Trained(metrics, None))
    candidate = Candidate(origin="search", genotype=known_genotype("nas_fpn"), proposal=0)
    request = TrialRequest(number=0, candidate=candidate, seed=0)
    return run_trial(task, config, request, SearchCallbacks(config, request))


@pytest.mark.parametrize(("changes", "reason"), BAD, ids=[f"{n}, {reason}" for n, (_, reason) in enumerate(BAD)])
def test_a_trial_with_odd_metrics_fails_with_the_reason(tmp_path, changes, reason):
    reply = outcome(tmp_path, {**GOOD, **changes})
    assert not isinstance(reply, Scored)
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(reply.error)
    assert "\n" not in reply.error


@pytest.mark.parametrize("metrics", [None, 30.0, "AP", [("AP", 30.0)]])
def test_metrics_that_are_no_mapping_fail_the_trial(tmp_path, metrics):
    assert "must be a mapping of names to numbers" in outcome(tmp_path, metrics).error


def test_numbers_of_other_libraries_are_pythons_afterwards(tmp_path):
    given = {
        "AP": np.float32(30), "AP50": torch.tensor(50.0), "params": np.int64(7), "macs": np.float64(2**40),
        "latency_ms": 1, "loss": math.nan, "warm": np.bool_(True), "AP75": None,
    }  # fmt: skip
    reply = outcome(tmp_path, given)
    assert {name: type(value) for name, value in reply.metrics.items()} == {
        "AP": float, "AP50": float, "params": int, "macs": float, "latency_ms": int, "loss": type(None),
        "warm": bool, "AP75": type(None), "seconds": float,
    }  # fmt: skip
    json.dumps(reply.metrics, allow_nan=False)


@pytest.mark.parametrize("cost", [math.nan, math.inf])
def test_a_cost_that_is_no_number_keeps_no_limit(cost):
    assert violations(ConstraintConfig(max_macs=10), {"macs": cost})


def test_a_cost_far_from_the_target_makes_no_reward():
    config = RewardConfig(objective="mnasnet", target=1e300, exponent=-10)
    with pytest.raises(RewardError, match="too far from the target"):
        reward_of(config, {"AP": 1.0, "macs": 1})


def test_sums_of_the_largest_metrics_are_finite():
    largest = plain_metrics({"macs": MAX_VALUE, "loss": -MAX_VALUE})
    assert math.isfinite(sum(value**2 for value in largest.values()) * 1e6)


def test_json_that_is_written_has_no_nan():
    text = dumps({"a": math.nan, "b": [1.0, (math.inf, {"c": -math.inf})], "d": "NaN"})
    assert json.loads(text, parse_constant=pytest.fail) == {"a": None, "b": [1.0, [None, {"c": None}]], "d": "NaN"}
