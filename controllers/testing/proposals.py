"""Proposals: points of the space, from the controller's own seed only, new ones while there are any."""

from __future__ import annotations

import math
import multiprocessing
import pickle
import random
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import cache

import numpy as np
import pytest
import torch

from controllers.testing.runs import SPACE, TINY, Journal, Make, Suite, outcome, trajectory
from search_space import Genotype, known, nas_fpn_space


def trajectory_of(make: Make, seed: int) -> list[str]:
    """The trajectory of a new controller, in whatever process this is called."""
    return trajectory(make(SPACE, seed=seed))


@cache
def other_process() -> Executor:
    """A process that hashes strings otherwise than this one."""
    process = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONHASHSEED", "1")
        process.submit(int).result()
    return process


class ProposalTests(Suite):
    """Tests of what is proposed."""

    def test_proposals_are_points_with_their_encoding_and_consecutive_ids(self, make: Make) -> None:
        proposals = Journal(make(SPACE)).run(40).proposals
        assert [proposal.id for proposal in proposals] == list(range(len(proposals)))
        for proposal in proposals:
            assert proposal.choices == SPACE.encode(proposal.genotype)
            assert SPACE.decode(proposal.choices) == proposal.genotype

    def test_nothing_is_proposed_for_zero_and_a_negative_number_is_refused(self, make: Make) -> None:
        controller = make(SPACE)
        assert controller.propose(0) == []
        with pytest.raises(ValueError, match="n must be 0 or more, got -1"):
            controller.propose(-1)
        assert controller.num_proposed == 0

    def test_same_seed_same_trajectory(self, make: Make) -> None:
        assert trajectory_of(make, 3) == trajectory_of(make, 3)

    def test_another_seed_another_trajectory(self, make: Make) -> None:
        assert len({tuple(trajectory_of(make, seed)) for seed in range(4)}) == 4

    def test_same_trajectory_in_another_process(self, make: Make) -> None:
        try:
            pickle.dumps(make)
        except (pickle.PicklingError, AttributeError):
            pytest.skip("make is neither a class nor a function of a module, so no other process can call it")
        assert other_process().submit(trajectory_of, make, 3).result(timeout=120) == trajectory_of(make, 3)

    def test_the_global_generators_are_neither_read_nor_moved(self, make: Make) -> None:
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002
        torch.manual_seed(1)
        before_torch = torch.get_rng_state()
        before, before_numpy = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
        first = trajectory(make(SPACE))
        assert random.getstate() == before
        assert np.random.get_state()[1].tolist() == before_numpy  # type: ignore[index]  # noqa: NPY002
        assert torch.equal(torch.get_rng_state(), before_torch)
        random.seed(2)
        np.random.seed(2)  # noqa: NPY002
        torch.manual_seed(2)
        assert trajectory(make(SPACE)) == first

    def test_asking_for_many_equals_asking_one_by_one(self, make: Make) -> None:
        many, single = make(SPACE), make(SPACE)
        for controller in (many, single):
            Journal(controller).run(20)
        assert many.propose(6) == [proposal for _ in range(6) for proposal in single.propose(1)]

    def test_pending_is_what_was_proposed_and_not_observed(self, make: Make) -> None:
        controller = make(SPACE)
        proposals = controller.propose(4)
        assert controller.pending == tuple(proposals)
        controller.observe([outcome(proposals[2]), outcome(proposals[0])])
        assert controller.pending == (proposals[1], proposals[3])
        assert controller.num_proposed == 4

    def test_what_is_remembered_is_plain_numbers(self, make: Make) -> None:
        for proposal in Journal(make(SPACE)).run(10).proposals:
            assert all(isinstance(value, int | float) and math.isfinite(value) for value in proposal.info.values())

    def test_initial_genotypes_come_first_in_order_and_once(self, make: Make) -> None:
        rng = random.Random(0)
        a, b, c = (SPACE.sample(rng) for _ in range(3))
        proposals = make(SPACE, initial=[b, a, b, c, a]).propose(8)
        assert [proposal.genotype for proposal in proposals[:3]] == [b, a, c]
        assert len({proposal.genotype.fingerprint for proposal in proposals}) == 8

    def test_initial_genotypes_do_not_shift_the_randomness_of_later_ones(self, make: Make) -> None:
        plain = make(SPACE).propose(5)
        assert make(SPACE, initial=[SPACE.sample(random.Random(0))]).propose(5)[1:] == plain[1:]

    def test_the_published_cell_can_be_the_start(self, make: Make) -> None:
        [first] = make(nas_fpn_space(), initial=[known.nas_fpn()]).propose(1)
        assert first.genotype == known.nas_fpn()

    def test_an_initial_genotype_outside_the_space_is_named_with_the_reason(self, make: Make) -> None:
        inside = next(iter(SPACE.enumerate()))
        with pytest.raises(ValueError, match=r"initial genotype 1 is not in the search space: .*levels"):
            make(SPACE, initial=[inside, Genotype((3, 4), ())])

    def test_no_genotype_is_proposed_twice_while_many_are_unseen(self, make: Make) -> None:
        fingerprints = trajectory(make(SPACE), trials=150)
        assert len(set(fingerprints)) == len(fingerprints)
        pending_only = [proposal.genotype.fingerprint for proposal in make(SPACE).propose(100)]
        assert len(set(pending_only)) == 100

    def test_half_of_a_tiny_space_is_proposed_without_repeats(self, make: Make) -> None:
        classes = {genotype.fingerprint for genotype in TINY.enumerate()}
        fingerprints = trajectory(make(TINY), trials=len(classes) // 2)
        assert len(set(fingerprints)) == len(fingerprints)

    def test_an_exhausted_space_gives_duplicates_and_does_not_hang(self, make: Make) -> None:
        classes = {genotype.fingerprint for genotype in TINY.enumerate()}
        journal = Journal(make(TINY)).run(len(classes) + 3)
        assert len(journal.proposals) > len(classes)
        assert {proposal.genotype.fingerprint for proposal in journal.proposals} == classes
