"""Pareto front of a search: best AP per cost."""

from __future__ import annotations

from collections.abc import Sequence

from nas.search.records import Trial
from nas.search.standings import scored


def pareto_front(trials: Sequence[Trial], cost: str = "macs", gain: str = "AP") -> list[Trial]:
    """Trials that no other one beats in one metric without being behind in the other, cheapest first.

    Only those trained to the end count, known necks among them. Of trials with equal metrics, such as copies of one
    function, the earliest is there.

    Args:
        cost: metric to keep low; trials without it are left out.
        gain: metric to have high.
    """
    measured = [
        (trial.metrics[cost], -trial.metrics[gain], trial.number, trial)
        for trial in scored(trials)
        if trial.metrics.get(cost) is not None and trial.metrics.get(gain) is not None
    ]
    front: list[Trial] = []
    for *_, trial in sorted(measured, key=lambda entry: entry[:3]):
        if not front or trial.metrics[gain] > front[-1].metrics[gain]:
            front.append(trial)
    return front
