"""Outcomes: late, out of order, failed, reported twice, of proposals that were never made."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controllers.records import Outcome, Proposal
from controllers.testing.runs import SPACE, Journal, Make, Suite, outcome


class OutcomeTests(Suite):
    """Tests of what is observed."""

    def test_an_outcome_may_come_with_a_copy_of_the_proposal_without_info(self, make: Make) -> None:
        plain, bare = make(SPACE), make(SPACE)
        for _ in range(25):
            (a,), (b,) = plain.propose(1), bare.propose(1)
            plain.observe([outcome(a)])
            bare.observe([outcome(replace(b, info={}))])
        assert plain.state_dict() == bare.state_dict()

    def test_goes_on_when_every_trial_fails(self, make: Make) -> None:
        controller = make(SPACE)
        for _ in range(30):
            controller.observe([Outcome(proposal, None, "failed") for proposal in controller.propose(1)])
        assert controller.pending == ()
        assert len(controller.propose(3)) == 3

    def test_late_and_unordered_outcomes_are_taken(self, make: Make) -> None:
        controller = make(SPACE)
        early = controller.propose(5)
        for _ in range(30):
            controller.observe([outcome(proposal) for proposal in controller.propose(1)])
        assert controller.pending == tuple(early)
        controller.observe([outcome(proposal) for proposal in reversed(early)])
        assert controller.pending == ()
        assert len(controller.propose(2)) == 2

    def test_a_second_outcome_of_a_proposal_changes_nothing(self, make: Make) -> None:
        journal = Journal(make(SPACE)).run(20)
        before = journal.controller.state_dict()
        journal.controller.observe(journal.outcomes)
        journal.controller.observe([Outcome(journal.outcomes[-1].proposal, 99.0)])
        assert journal.controller.state_dict() == before

    def test_of_two_outcomes_in_one_call_the_first_counts(self, make: Make) -> None:
        both, once = make(SPACE), make(SPACE)
        for controller, repeats in ((both, 2), (once, 1)):
            proposals = controller.propose(12)
            controller.observe([outcome(p) for p in proposals for _ in range(repeats)])
        assert both.state_dict() == once.state_dict()

    @pytest.mark.parametrize("wrong", ["never made", "negative", "other genotype"])
    def test_outcomes_of_unknown_proposals_are_refused_and_nothing_is_learned(self, make: Make, wrong: str) -> None:
        controller = make(SPACE)
        first, second = controller.propose(2)
        stranger = {
            "never made": replace(first, id=2),
            "negative": replace(first, id=-1),
            "other genotype": Proposal(first.id, second.genotype, second.choices),
        }[wrong]
        before = controller.state_dict()
        with pytest.raises(ValueError, match=f"outcome of proposal {stranger.id}"):
            controller.observe([outcome(second), outcome(stranger)])
        assert controller.state_dict() == before
