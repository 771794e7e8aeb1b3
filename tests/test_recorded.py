"""The problem made of recorded trials: measured where it was measured, and a fair guess elsewhere."""

from __future__ import annotations

import random

import numpy as np
import pytest
from scipy.stats import kendalltau

from experiments.benchmarks.recorded import Recorded, features, measured, model, read_table, space, table_features
from search_space import Genotype


@pytest.fixture(scope="module")
def rows():
    return read_table()


@pytest.fixture(scope="module")
def problem():
    return Recorded(space(), seed=0)


def test_the_table_has_the_whole_search_with_rungs_and_cost(rows):
    counts = {name: sum(row["origin"] == name for row in rows) for name in ("random", "search")}
    assert min(counts.values()) >= 290
    for row in rows:
        assert row["state"] in ("complete", "stopped")
        assert {"macs", "params"} <= row["metrics"].keys() or row["copied_from"] is not None
    random_ones = [row for row in rows if row["origin"] == "random" and row["copied_from"] is None]
    assert all("reward@100" in row["metrics"] for row in random_ones)


def test_its_genotypes_are_of_the_searched_space_and_within_its_limit(rows):
    searched = space()
    for row in rows:
        if not row["origin"].startswith("known:"):
            assert searched.contains(Genotype.from_dict(row["genotype"]))
            assert row["metrics"]["macs"] <= 20_500_000


def test_recorded_genotypes_have_their_measured_rewards(problem, rows):
    data = measured(rows)
    values = problem.values(data.genotypes)
    assert values == pytest.approx(data.rewards.tolist())
    assert [problem.value(genotype) for genotype in data.genotypes[:5]] == pytest.approx(values[:5])


def test_others_have_values_between_those_and_one_by_one_the_same(problem, rows):
    rewards = measured(rows).rewards
    rng = random.Random(1)
    drawn = [problem.space.sample(rng) for _ in range(30)]
    values = problem.values(drawn)
    assert rewards.min() <= min(values) < max(values) <= rewards.max()
    assert len(set(values)) > 10
    assert [problem.value(genotype) for genotype in drawn] == pytest.approx(values)


def test_the_regression_ranks_what_it_has_not_seen(rows):
    """Fitted to every other function, on the rest."""
    data = measured(rows)
    inputs = table_features(data.genotypes)
    predicted = model().fit(inputs[::2], data.rewards[::2]).predict(inputs[1::2])
    assert kendalltau(predicted, data.rewards[1::2]).statistic > 0.4


def test_observations_are_noisy(problem, rows):
    genotype = measured(rows).genotypes[0]
    rng = random.Random(0)
    seen = [problem.observe(genotype, rng) for _ in range(200)]
    assert np.std(seen) == pytest.approx(0.005, rel=0.3)
    assert np.mean(seen) == pytest.approx(problem.value(genotype), abs=0.002)


def test_all_genotypes_have_the_same_features(rows):
    lengths = {len(features(genotype)) for genotype in measured(rows).genotypes}
    assert len(lengths) == 1
