"""One trial once more, in this process."""

from __future__ import annotations

from collections.abc import Mapping

from nas.proxy.trial import TrialError
from nas.search.config import SearchConfig
from nas.search.records import Trial
from nas.search.reward import reward_of
from nas.search.stopping import RUNG_METRIC
from nas.search.worker import MakeTask, TrialHooks, make_proxy_task, run_trial


class _AsRecorded(TrialHooks):
    """Stops where the trial was stopped."""

    def __init__(self, config: SearchConfig, trial: Trial) -> None:
        super().__init__(config, trial.number, "", limited=False, channels=trial.candidate.channels)
        steps = [int(name.removeprefix(RUNG_METRIC)) for name in trial.metrics if name.startswith(RUNG_METRIC)]
        self.rungs = tuple(sorted(steps))
        self._last = self.rungs[-1] if trial.state == "stopped" else None

    def stops_at(self, step: int, metrics: Mapping[str, float | None]) -> bool:
        return step == self._last


def train_again(config: SearchConfig, trial: Trial, make_task: MakeTask = make_proxy_task) -> float:
    """The reward of a trial, trained with its seed and settings; the same on the same hardware (on CPUs to the bit).

    Raises:
        TrialError: if it fails now.
    """
    reply = run_trial(make_task(config), config, trial.number, trial.candidate.genotype, _AsRecorded(config, trial))
    if reply.metrics is None:
        raise TrialError(reply.error or "no reason was given")
    return reward_of(config.reward, reply.metrics)
