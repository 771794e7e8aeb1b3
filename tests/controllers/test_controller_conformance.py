"""What holds for every controller: a new one joins by its line in `controllers.CONTROLLERS`."""

import json
import math
import os
import random
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from controllers import CONTROLLERS, Outcome, Proposal
from search_space import Genotype, NasFpnSpace, known, nas_fpn_space, pyramid_space
from tests.support.controller_tools import MAKERS, SPACE, TINY, Journal, outcome, trajectory, trajectory_hash


@pytest.fixture(params=MAKERS)
def name(request):
    return request.param


@pytest.fixture
def make(name):
    return lambda space=SPACE, **arguments: MAKERS[name](space, **arguments)


def by_state(journal, fresh):
    fresh.load_state_dict(json.loads(json.dumps(journal.controller.state_dict())))


def by_replay(journal, fresh):
    fresh.replay(journal.proposals, journal.outcomes)


RECOVERIES = [by_state, by_replay]


def test_proposals_are_points_with_their_encoding_and_consecutive_ids(make):
    proposals = Journal(make()).run(40).proposals
    assert [proposal.id for proposal in proposals] == list(range(len(proposals)))
    for proposal in proposals:
        assert proposal.choices == SPACE.encode(proposal.genotype)
        assert SPACE.decode(proposal.choices) == proposal.genotype


def test_nothing_is_proposed_for_zero_and_a_negative_number_is_refused(make):
    controller = make()
    assert controller.propose(0) == []
    with pytest.raises(ValueError, match="n must be 0 or more, got -1"):
        controller.propose(-1)
    assert controller.num_proposed == 0


def test_same_seed_same_trajectory(make):
    assert trajectory(make(seed=3)) == trajectory(make(seed=3))


def test_another_seed_another_trajectory(make):
    assert len({tuple(trajectory(make(seed=seed))) for seed in range(4)}) == 4


def test_same_trajectories_in_another_process():
    names = list(MAKERS)
    script = (
        f"from tests.support.controller_tools import trajectory_hash as t; print(*(t(name, 3) for name in {names}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split() == [trajectory_hash(name, 3) for name in MAKERS]


def test_the_global_generators_are_neither_read_nor_moved(make):
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    before_torch = torch.get_rng_state()
    before, before_numpy = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    first = trajectory(make())
    assert random.getstate() == before
    assert np.random.get_state()[1].tolist() == before_numpy  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before_torch)
    random.seed(2)
    np.random.seed(2)  # noqa: NPY002
    torch.manual_seed(2)
    assert trajectory(make()) == first


def test_asking_for_many_equals_asking_one_by_one(make):
    many, single = make(), make()
    for controller in (many, single):
        Journal(controller).run(20)
    assert many.propose(6) == [proposal for _ in range(6) for proposal in single.propose(1)]


def test_pending_is_what_was_proposed_and_not_observed(make):
    controller = make()
    proposals = controller.propose(4)
    assert controller.pending == tuple(proposals)
    controller.observe([outcome(proposals[2]), outcome(proposals[0])])
    assert controller.pending == (proposals[1], proposals[3])
    assert controller.num_proposed == 4


@pytest.mark.parametrize("recover", RECOVERIES)
@pytest.mark.parametrize("trials", [0, 1, 7, 30])
def test_recovery_gives_the_same_state_and_future(make, recover, trials):
    live, fresh = Journal(make(seed=5)).run(trials), make(seed=5)
    recover(live, fresh)
    assert fresh.pending == live.controller.pending
    assert fresh.state_dict() == live.controller.state_dict()
    future, past = Journal(fresh).run(25), len(live.proposals)
    live.run(25)
    assert future.proposals == live.proposals[past:]
    assert fresh.state_dict() == live.controller.state_dict()


@pytest.mark.parametrize("recover", RECOVERIES)
def test_recovery_in_the_middle_of_the_initial_genotypes(make, recover):
    rng = random.Random(0)
    initial = [SPACE.sample(rng) for _ in range(5)]
    live, fresh = make(initial=initial), make(initial=initial)
    journal = Journal(live)
    journal.proposals = live.propose(2)
    recover(journal, fresh)
    assert [proposal.genotype for proposal in fresh.propose(3)] == initial[2:]
    assert fresh.propose(2) == live.propose(5)[3:]


def test_a_state_dict_is_plain_and_does_not_change_later(make):
    journal = Journal(make()).run(15)
    state = journal.controller.state_dict()
    text = json.dumps(state, allow_nan=False)
    journal.run(15)
    assert json.dumps(state) == text


def test_loading_forgets_what_the_controller_did_before(make):
    live, other = Journal(make()).run(10), Journal(make()).run(20)
    by_state(live, other.controller)
    assert other.controller.state_dict() == live.controller.state_dict()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"seed": 1}, "the state has seed = 1, this"), ({"initial": [next(SPACE.enumerate())]}, "the state has initial")],
)
def test_the_state_of_other_arguments_is_refused(make, arguments, message):
    controller = Journal(make()).run(5).controller
    before = controller.state_dict()
    with pytest.raises(ValueError, match=message):
        controller.load_state_dict(make(**arguments).state_dict())
    assert controller.state_dict() == before


def test_the_state_of_another_controller_is_refused(name, make):
    own = name.partition(",")[0]
    for other in set(CONTROLLERS) - {own}:
        with pytest.raises(ValueError, match="the state has controller = "):
            make().load_state_dict(CONTROLLERS[other](SPACE).state_dict())


def test_the_state_of_another_space_is_refused(make):
    controller = Journal(make()).run(5).controller
    before = controller.state_dict()
    for space in (TINY, NasFpnSpace(5, levels=(3, 4, 5)), NasFpnSpace(4, levels=(4, 5, 6))):
        with pytest.raises(ValueError, match="the state has space = "):
            controller.load_state_dict(make(space).state_dict())
    assert controller.state_dict() == before


def test_the_journal_of_another_space_is_refused_and_nothing_is_taken_over(make):
    journal, fresh = Journal(make(TINY)).run(3), make()
    with pytest.raises(ValueError, match=r"proposal 0 of the journal is not in the search space: .*levels"):
        by_replay(journal, fresh)
    assert fresh.state_dict() == make().state_dict()


def test_a_refused_outcome_leaves_a_replay_fresh(make):
    journal, fresh = Journal(make()).run(5), make()
    stranger = replace(journal.outcomes[0], proposal=replace(journal.proposals[0], id=99))
    with pytest.raises(ValueError, match="outcome of proposal 99"):
        fresh.replay(journal.proposals, [*journal.outcomes, stranger])
    by_replay(journal, fresh)
    assert fresh.state_dict() == journal.controller.state_dict()


def test_what_is_remembered_is_plain_numbers(make):
    for proposal in Journal(make()).run(10).proposals:
        assert all(isinstance(value, int | float) and math.isfinite(value) for value in proposal.info.values())


def test_an_outcome_may_come_with_a_copy_of_the_proposal_without_info(make):
    plain, bare = make(), make()
    for _ in range(25):
        (a,), (b,) = plain.propose(1), bare.propose(1)
        plain.observe([outcome(a)])
        bare.observe([outcome(replace(b, info={}))])
    assert plain.state_dict() == bare.state_dict()


def test_a_space_whose_decisions_depend_on_choices(make):
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


def test_replay_is_refused_after_a_proposal_or_with_a_hole(make):
    journal = Journal(make()).run(5)
    with pytest.raises(ValueError, match="replay needs a fresh controller, this one has made"):
        journal.controller.replay(journal.proposals, journal.outcomes)
    with pytest.raises(ValueError, match="expected 2, got 3"):
        make().replay(journal.proposals[:2] + journal.proposals[3:], [])


def test_goes_on_when_every_trial_fails(make):
    controller = make()
    for _ in range(30):
        controller.observe([Outcome(proposal, None, "failed") for proposal in controller.propose(1)])
    assert controller.pending == ()
    assert len(controller.propose(3)) == 3


def test_late_and_unordered_outcomes_are_taken(make):
    controller = make()
    early = controller.propose(5)
    for _ in range(30):
        controller.observe([outcome(proposal) for proposal in controller.propose(1)])
    assert controller.pending == tuple(early)
    controller.observe([outcome(proposal) for proposal in reversed(early)])
    assert controller.pending == ()
    assert len(controller.propose(2)) == 2


def test_a_second_outcome_of_a_proposal_changes_nothing(make):
    journal = Journal(make()).run(20)
    before = journal.controller.state_dict()
    journal.controller.observe(journal.outcomes)
    journal.controller.observe([Outcome(journal.outcomes[-1].proposal, 99.0)])
    assert journal.controller.state_dict() == before


def test_of_two_outcomes_in_one_call_the_first_counts(make):
    both, once = make(), make()
    for controller, repeats in ((both, 2), (once, 1)):
        proposals = controller.propose(12)
        controller.observe([outcome(p) for p in proposals for _ in range(repeats)])
    assert both.state_dict() == once.state_dict()


@pytest.mark.parametrize("wrong", ["never made", "negative", "other genotype"])
def test_outcomes_of_unknown_proposals_are_refused_and_nothing_is_learned(make, wrong):
    controller = make()
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


def test_initial_genotypes_come_first_in_order_and_once(make):
    rng = random.Random(0)
    a, b, c = (SPACE.sample(rng) for _ in range(3))
    proposals = make(initial=[b, a, b, c, a]).propose(8)
    assert [proposal.genotype for proposal in proposals[:3]] == [b, a, c]
    assert len({proposal.genotype.fingerprint for proposal in proposals}) == 8


def test_initial_genotypes_do_not_shift_the_randomness_of_later_ones(make):
    plain = make().propose(5)
    assert make(initial=[SPACE.sample(random.Random(0))]).propose(5)[1:] == plain[1:]


def test_the_published_cell_can_be_the_start(make):
    [first] = make(nas_fpn_space(), initial=[known.nas_fpn()]).propose(1)
    assert first.genotype == known.nas_fpn()


def test_an_initial_genotype_outside_the_space_is_named_with_the_reason(make):
    inside = next(SPACE.enumerate())
    with pytest.raises(ValueError, match=r"initial genotype 1 is not in the search space: .*levels"):
        make(initial=[inside, Genotype((3, 4), ())])


def test_no_genotype_is_proposed_twice_while_many_are_unseen(make):
    fingerprints = trajectory(make(), trials=150)
    assert len(set(fingerprints)) == len(fingerprints)
    pending_only = [proposal.genotype.fingerprint for proposal in make().propose(100)]
    assert len(set(pending_only)) == 100


def test_half_of_a_tiny_space_is_proposed_without_repeats(make):
    classes = {genotype.fingerprint for genotype in TINY.enumerate()}
    fingerprints = trajectory(make(TINY), trials=len(classes) // 2)
    assert len(set(fingerprints)) == len(fingerprints)


def test_an_exhausted_space_gives_duplicates_and_does_not_hang(make):
    classes = {genotype.fingerprint for genotype in TINY.enumerate()}
    journal = Journal(make(TINY)).run(len(classes) + 3)
    assert len(journal.proposals) > len(classes)
    assert {proposal.genotype.fingerprint for proposal in journal.proposals} == classes
