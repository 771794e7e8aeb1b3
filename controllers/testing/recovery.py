"""Recovery from a state and from a journal: both give the same controller, with the same future."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from controllers.base import Controller
from controllers.random_search import RandomController
from controllers.testing.runs import SPACE, TINY, Journal, Make, Suite
from search_space import NasFpnSpace, known, pyramid_space

Recover = Callable[[Journal, Controller], None]


def by_state(journal: Journal, fresh: Controller) -> None:
    fresh.load_state_dict(json.loads(json.dumps(journal.controller.state_dict())))


def by_replay(journal: Journal, fresh: Controller) -> None:
    fresh.replay(journal.proposals, journal.outcomes)


RECOVERIES: list[Recover] = [by_state, by_replay]


class OtherController(RandomController):
    """A controller that is none of those to be tested."""


class RecoveryTests(Suite):
    """Tests of states and replays."""

    @pytest.mark.parametrize("recover", RECOVERIES)
    @pytest.mark.parametrize("trials", [0, 1, 7, 30])
    def test_recovery_gives_the_same_state_and_future(self, make: Make, recover: Recover, trials: int) -> None:
        live, fresh = Journal(make(SPACE, seed=5)).run(trials), make(SPACE, seed=5)
        recover(live, fresh)
        assert fresh.pending == live.controller.pending
        assert fresh.state_dict() == live.controller.state_dict()
        future, past = Journal(fresh).run(25), len(live.proposals)
        live.run(25)
        assert future.proposals == live.proposals[past:]
        assert fresh.state_dict() == live.controller.state_dict()

    @pytest.mark.parametrize("recover", RECOVERIES)
    def test_recovery_in_the_middle_of_the_initial_genotypes(self, make: Make, recover: Recover) -> None:
        rng = random.Random(0)
        initial = [SPACE.sample(rng) for _ in range(5)]
        live, fresh = make(SPACE, initial=initial), make(SPACE, initial=initial)
        journal = Journal(live)
        journal.proposals = live.propose(2)
        recover(journal, fresh)
        assert [proposal.genotype for proposal in fresh.propose(3)] == initial[2:]
        assert fresh.propose(2) == live.propose(5)[3:]

    def test_a_space_whose_decisions_depend_on_choices(self, make: Make) -> None:
        """Known necks first, and every recovery, in a space with a searched number of cells."""
        space = pyramid_space(max_cells=10)
        initial = [known.fpn(), known.bifpn()]
        journal = Journal(make(space, initial=initial)).run(30)
        assert [proposal.genotype for proposal in journal.proposals[:2]] == initial
        for recover in RECOVERIES:
            fresh = make(space, initial=initial)
            recover(journal, fresh)
            assert fresh.state_dict() == journal.controller.state_dict()
            assert all(space.contains(proposal.genotype) for proposal in fresh.propose(2))

    def test_a_state_dict_is_plain_and_does_not_change_later(self, make: Make) -> None:
        journal = Journal(make(SPACE)).run(15)
        state = journal.controller.state_dict()
        text = json.dumps(state, allow_nan=False)
        journal.run(15)
        assert json.dumps(state) == text

    def test_loading_forgets_what_the_controller_did_before(self, make: Make) -> None:
        live, other = Journal(make(SPACE)).run(10), Journal(make(SPACE)).run(20)
        by_state(live, other.controller)
        assert other.controller.state_dict() == live.controller.state_dict()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"seed": 1}, "the state has seed = 1, this"),
            ({"initial": [next(iter(SPACE.enumerate()))]}, "the state has initial"),
        ],
    )
    def test_the_state_of_other_arguments_is_refused(
        self, make: Make, arguments: dict[str, object], message: str
    ) -> None:
        controller = Journal(make(SPACE)).run(5).controller
        before = controller.state_dict()
        with pytest.raises(ValueError, match=message):
            controller.load_state_dict(make(SPACE, **arguments).state_dict())
        assert controller.state_dict() == before

    def test_the_state_of_another_controller_is_refused(self, make: Make) -> None:
        with pytest.raises(ValueError, match="the state has controller = 'OtherController'"):
            make(SPACE).load_state_dict(OtherController(SPACE).state_dict())

    def test_the_state_of_another_space_is_refused(self, make: Make) -> None:
        controller = Journal(make(SPACE)).run(5).controller
        before = controller.state_dict()
        for space in (TINY, NasFpnSpace(5, levels=(3, 4, 5)), NasFpnSpace(4, levels=(4, 5, 6))):
            with pytest.raises(ValueError, match="the state has space = "):
                controller.load_state_dict(make(space).state_dict())
        assert controller.state_dict() == before

    def test_the_journal_of_another_space_is_refused_and_nothing_is_taken_over(self, make: Make) -> None:
        journal, fresh = Journal(make(TINY)).run(3), make(SPACE)
        with pytest.raises(ValueError, match=r"proposal 0 of the journal is not in the search space: .*levels"):
            by_replay(journal, fresh)
        assert fresh.state_dict() == make(SPACE).state_dict()

    def test_a_refused_outcome_leaves_a_replay_fresh(self, make: Make) -> None:
        journal, fresh = Journal(make(SPACE)).run(5), make(SPACE)
        stranger = replace(journal.outcomes[0], proposal=replace(journal.proposals[0], id=99))
        with pytest.raises(ValueError, match="outcome of proposal 99"):
            fresh.replay(journal.proposals, [*journal.outcomes, stranger])
        by_replay(journal, fresh)
        assert fresh.state_dict() == journal.controller.state_dict()

    def test_replay_is_refused_after_a_proposal_or_with_a_hole(self, make: Make) -> None:
        journal = Journal(make(SPACE)).run(5)
        with pytest.raises(ValueError, match="replay needs a fresh controller, this one has made"):
            journal.controller.replay(journal.proposals, journal.outcomes)
        with pytest.raises(ValueError, match="expected 2, got 3"):
            make(SPACE).replay(journal.proposals[:2] + journal.proposals[3:], [])
