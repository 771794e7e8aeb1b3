"""One trial once more, in this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nas.engine.callbacks import SearchCallbacks
from nas.engine.task import MakeTask, configured_task
from nas.engine.trial import Rejected, TrialRequest, trial_seed
from nas.engine.worker import run_trial
from nas.errors import UserError
from nas.proxy.trial import Start, TrialError
from nas.runs.start_weights import StartWeights
from nas.search.config import SearchConfig
from nas.search.constraints import Measured
from nas.search.costs import own_costs
from nas.search.inheritance import INHERITED_FROM, RAW_REWARD
from nas.search.records import Trial
from nas.search.reward import reward_of
from nas.search.stopping import RUNG_METRIC
from nas.workers.answers import Failed

if TYPE_CHECKING:
    from necks import Neck


class _AsRecorded(SearchCallbacks):
    """Stops where the trial was stopped; no limit is checked, since latency is never measured alike."""

    def __init__(self, config: SearchConfig, request: TrialRequest, trial: Trial) -> None:
        super().__init__(config, request)
        steps = [int(name.removeprefix(RUNG_METRIC)) for name in trial.metrics if name.startswith(RUNG_METRIC)]
        self.rungs = tuple(sorted(steps))
        self._last = self.rungs[-1] if trial.state == "stopped" else None

    def before_training(self, measured: Measured, neck: Neck | None = None) -> None:
        self.was_asked = True
        self.costs = own_costs(self._config.costs, self._request.candidate.genotype, neck)

    def stops_at(self, step: int, metrics: Mapping[str, float | None]) -> bool:
        return step == self._last


def start_of(config: SearchConfig, trial: Trial, starts: StartWeights) -> Start | None:
    """Weights that a trial's training started from; None: from nothing.

    Raises:
        UserError: if the weights that it started from are no longer kept.
    """
    if (source := trial.metrics.get(INHERITED_FROM)) is None:
        return None
    if (weights := starts.get(int(source))) is None:
        raise UserError(
            f"trial {trial.number} started from the weights of trial {source:.0f}, which are no longer kept, so that "
            "it cannot be trained again as it was; take a trial that did not inherit, or raise inherit.keep in the "
            "next search"
        )
    return Start(weights, config.inherit.steps or 0, config.inherit.lr)


def observed_reward(trial: Trial) -> float:
    """The reward of a scored trial as it was measured; of one that inherited, before the drift was taken off."""
    reward = trial.metrics.get(RAW_REWARD, trial.reward)
    return float(reward)


def train_again(
    config: SearchConfig, trial: Trial, make_task: MakeTask = configured_task, start: Start | None = None
) -> float:
    """The reward of a trial as it was measured (`observed_reward`), trained with its seed and settings; the same on the
    same hardware (on CPUs to the bit).

    Args:
        start: see `start_of`.

    Raises:
        TrialError: if it fails now.
    """
    request = TrialRequest(
        number=trial.number, candidate=trial.candidate, seed=trial_seed(config, trial.number), start=start
    )
    answer = run_trial(make_task(config), config, request, _AsRecorded(config, request, trial))
    assert not isinstance(answer, Rejected)
    if isinstance(answer, Failed):
        raise TrialError(answer.error)
    return reward_of(config.reward, answer.metrics)
