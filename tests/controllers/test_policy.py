import math
import random
from collections import Counter

import pytest
import torch

from controllers.policy import INIT_RANGE, Policy, Sampler, entropies, log_probs_of
from controllers.testing import SPACE, TINY
from search_space import known, pyramid_space


def log_prob(policy, choices):
    with torch.no_grad():
        batch = policy.encode([choices])
        return float(log_probs_of(policy(batch), batch).sum())


def scrambled(space, seed=0):
    """A policy far from uniform."""
    policy = Policy(space, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in policy.parameters():
            weight.uniform_(-1, 1, generator=generator)
    return policy


def test_probabilities_sum_to_one_and_disallowed_choices_have_none():
    policy = scrambled(SPACE)
    rng = random.Random(0)
    batch = policy.encode([SPACE.encode(SPACE.sample(rng)) for _ in range(20)])
    log_probs = policy(batch)
    assert torch.equal(torch.isneginf(log_probs), ~batch.allowed)
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(batch.steps.shape))


def test_the_probabilities_of_all_genotypes_sum_to_one():
    policy = scrambled(TINY)
    total = sum(math.exp(log_prob(policy, TINY.encode(genotype))) for genotype in TINY.enumerate())
    assert total == pytest.approx(1, abs=1e-5)


def test_a_disallowed_choice_is_refused_by_name():
    choices = TINY.encode(next(TINY.enumerate()))
    with pytest.raises(ValueError, match=r"cell0\.input_b is 0, allowed here are"):
        Policy(TINY).encode([{**choices, "cell0.input_b": 0}])


def test_the_sampler_draws_what_the_policy_says():
    """6,000 draws over 24 points against the exact probabilities: chi-square with 23 degrees, p = .0005 at 52."""
    policy, rng = scrambled(TINY, seed=4), random.Random(1)
    sampler = Sampler(policy)
    drawn = Counter(TINY.decode(sampler.sample(rng)) for _ in range(6000))
    expected = {genotype: 6000 * math.exp(log_prob(policy, TINY.encode(genotype))) for genotype in TINY.enumerate()}
    frequent = [genotype for genotype, count in expected.items() if count >= 5]
    assert len(frequent) >= 8
    assert sum((drawn[g] - expected[g]) ** 2 / expected[g] for g in frequent) < 52


def test_sequences_of_different_lengths_share_a_batch():
    space = pyramid_space(max_cells=10)
    policy = scrambled(space)
    sequences = [space.encode(known.fpn()), space.encode(known.bifpn())]
    batch = policy.encode(sequences)
    together = log_probs_of(policy(batch), batch).sum(-1).tolist()
    assert together == pytest.approx([log_prob(policy, choices) for choices in sequences], rel=1e-5)
    assert all(map(math.isfinite, together))
    assert batch.steps.sum(-1).tolist() == [len(choices) for choices in sequences]


def test_entropy_is_the_mean_over_the_decisions():
    """With all weights 0 each decision is uniform over what is allowed."""
    policy = Policy(SPACE)
    with torch.no_grad():
        for weight in policy.parameters():
            weight.zero_()
    batch = policy.encode([SPACE.encode(next(SPACE.enumerate()))])
    expected = batch.allowed.sum(-1).log().mean()
    torch.testing.assert_close(entropies(policy(batch), batch), expected.reshape(1))


def test_the_first_weights_are_in_range_and_follow_from_the_seed():
    first, again, other = (Policy(TINY, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) and not torch.equal(first[name], other[name]) for name in first)
    assert max(float(weight.abs().max()) for weight in first.values()) <= INIT_RANGE
