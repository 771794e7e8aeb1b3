import dataclasses

import pytest

from controllers import Outcome, Proposal
from search_space import known, nas_fpn_space

PROPOSAL = Proposal(7, known.nas_fpn(), nas_fpn_space().encode(known.nas_fpn()))


@pytest.mark.parametrize("state", ["complete", "stopped"])
def test_an_outcome_with_a_reward_is_accepted(state):
    outcome = Outcome(PROPOSAL, 1, state, {"ap": 0.5})
    assert outcome.reward == 1.0
    assert isinstance(outcome.reward, float)
    assert outcome.metrics == {"ap": 0.5}


def test_a_failed_outcome_has_no_reward():
    assert Outcome(PROPOSAL, None, "failed").reward is None


@pytest.mark.parametrize(
    ("reward", "state", "message"),
    [
        (None, "complete", "state 'complete' needs a reward; report a trial without one as 'failed'"),
        (None, "stopped", "state 'stopped' needs a reward"),
        (0.5, "failed", "a failed trial has no reward, got 0.5; pass reward=None"),
        (float("nan"), "complete", "the reward must be finite, got nan; report the trial as 'failed'"),
        (float("inf"), "stopped", "the reward must be finite, got inf"),
        (0.5, "done", "state 'done' is unknown; allowed are"),
    ],
)
def test_reward_and_state_that_do_not_belong_together_are_refused(reward, state, message):
    with pytest.raises(ValueError, match=f"outcome of proposal 7: {message}"):
        Outcome(PROPOSAL, reward, state)


def test_objectives_are_floats():
    assert Outcome(PROPOSAL, 1, objectives=[1, 2]).objectives == (1.0, 2.0)
    assert Outcome(PROPOSAL, 1).objectives is None


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        ((1.0, "complete", {}, (1.0, float("nan"))), "objectives must be finite"),
        ((None, "failed", {}, (1.0,)), "a failed trial has no objectives"),
    ],
)
def test_objectives_that_cannot_be_are_refused(outcome, message):
    with pytest.raises(ValueError, match=f"outcome of proposal 7: {message}"):
        Outcome(PROPOSAL, *outcome)


@pytest.mark.parametrize("record", [PROPOSAL, Outcome(PROPOSAL, 0.5)])
def test_records_are_frozen_and_hash(record):
    assert record in {record}
    for field in dataclasses.fields(record):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(record, field.name, None)
