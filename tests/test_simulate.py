"""Virtual time of a search is exact, and every trial ends once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import count

import pytest

from experiments.benchmarks.simulate import Search, Setup
from experiments.benchmarks.virtual_cluster import HOUR, Cluster, Simulation, on_paper

STEADY = Cluster(2, spread=0.0, driver=0.0)
SPOT = Cluster(20, preemptions=0.5)


def test_three_trials_on_two_workers_take_two_trials_time() -> None:
    timing = Simulation(STEADY, 3, seed=0).run()
    assert timing.hours == 2
    assert (timing.wasted, timing.away, timing.saving, timing.idle, timing.losses) == (0, 0, 0, 0.25, 0)
    assert timing.overtaken == [0, 1, 1]


def test_the_driver_hands_out_one_trial_after_the_other() -> None:
    timing = Simulation(replace(STEADY, driver=1.0), 3, seed=0).run()
    assert timing.hours * HOUR == pytest.approx(1 + HOUR + 1 + HOUR)
    assert timing.driver == pytest.approx(3 / (2 * HOUR + 2))


def test_checkpoints_take_their_time_but_for_the_last() -> None:
    timing = Simulation(replace(STEADY, checkpoint=600.0), 3, seed=0).run()
    assert timing.hours * HOUR == pytest.approx(2 * (HOUR + 5 * 5))
    assert timing.saving == pytest.approx(3 * 25 / (2 * 2 * (HOUR + 25)))


@pytest.mark.parametrize("checkpoint", [None, 600.0])
def test_under_preemption_every_trial_ends_exactly_once(checkpoint: float | None) -> None:
    numbers, ends, scored = count(), Counter[int](), Counter[bool]()

    def tell(number: int, has_score: bool) -> None:
        ends[number] += 1
        scored[has_score] += 1

    timing = Simulation(replace(SPOT, checkpoint=checkpoint), 400, 0, lambda: next(numbers), tell).run()
    assert ends == Counter(range(400))
    assert scored[False] == timing.failed > 0
    assert timing.wasted + timing.away + timing.saving + timing.idle < 1


def test_retries_bound_the_losses_of_a_trial() -> None:
    timing = Simulation(replace(SPOT, preemptions=1e4), 50, seed=0).run()
    assert (timing.failed, timing.losses) == (50, 150)


@pytest.mark.parametrize("checkpoint", [None, 600.0])
def test_simulation_agrees_with_arithmetic(checkpoint: float | None) -> None:
    cluster = Cluster(100, preemptions=0.2, checkpoint=checkpoint)
    timing, paper = Simulation(cluster, 20_000, seed=0).run(), on_paper(cluster, 20_000)
    assert timing.losses / 20_000 == pytest.approx(paper.losses, rel=0.05)
    assert timing.lost_work == pytest.approx(paper.lost_work, rel=0.05)
    assert timing.failed / 20_000 == pytest.approx(paper.failed, rel=0.3)
    assert timing.hours == pytest.approx(paper.hours, rel=0.02)


@pytest.mark.parametrize("controller", ["ppo", "evolution"])
def test_the_same_seed_gives_the_same_search(controller: str) -> None:
    setup = Setup(10, controller, {})
    first, second = Search(setup, 40, seed=1), Search(setup, 40, seed=1)
    assert (first.values, first.best, first.timing) == (second.values, second.best, second.timing)
    assert len(first.best) + first.timing.failed == 40
    assert first.lags == second.lags
    assert bool(first.lags) == (controller == "ppo")
