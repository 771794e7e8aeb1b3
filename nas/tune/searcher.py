"""Controllers as search algorithms of Ray Tune."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from controllers import Outcome, Proposal
from nas.atomic_write import atomic_write
from nas.configuration import ConfigError
from nas.engine.constraint_filter import UnsatisfiedError
from nas.errors import UserError
from nas.references import trust
from nas.search.config import SearchConfig, build_space, code_of
from nas.search.proposing import build_controller
from nas.search.records import Candidate
from nas.search.reward import RewardError, objectives_of
from nas.tune.candidates import Candidates
from nas.tune.results import REJECTED, REWARD, TRAINING, kept
from nas.tune.suggestion import COPIED, suggestion

_log = logging.getLogger(__name__)

FORMAT_VERSION = 1


class NeckSearcher(Searcher):
    """A search's controller as a search algorithm of Ray Tune: `TuneConfig(search_alg=NeckSearcher(config))`.

    It suggests the same necks as `nasfpn search`, as plain data for JSON: `genotype` (for `Genotype.from_dict`),
    `number` and `seed` of the trial, and `channels` if `candidate_width` is `equal`. `neck_trainable` or a trainable of
    your own trains them.

    The controller learns of a trial as complete if it ended well, as stopped if its last result has
    `state: training`, and as failed if it ended with an error, without the metric, or with a metric that is not finite.

    A neck over `max_params` or `max_macs` does not become a trial: the controller learns that it failed, and the next
    neck is suggested. After `max_rejections_in_a_row` such necks the search ends with an error in the log. A neck that
    computes the same function as an earlier one gets a trial that reports the earlier result.

    Args:
        config: configuration of the search. Known necks, random baseline, confirmation, storage and number of trials
            are ignored.
        metric: name of the result to learn from; default: the reward.
        mode: `max` or `min`.

    Raises:
        ConfigError: for a controller and a space that do not fit together, for `inherit.steps`, and for another mode.
    """

    CKPT_FILE_TMPL = "searcher-state-{}.json"

    def __init__(self, config: SearchConfig, *, metric: str = REWARD, mode: str = "max") -> None:
        if mode not in ("max", "min"):
            raise ConfigError(f"mode must be max or min, got {mode!r}")
        if config.inherit.is_on:
            raise ConfigError("trials of a Tuner share no weights: set inherit.steps=0, or run nasfpn search")
        super().__init__(metric=metric, mode=mode)
        self.config = config
        trust(code_of(config))
        self.controller = build_controller(config, build_space(config))
        self._candidates = Candidates(config, self.controller)
        self._issued: dict[str, Proposal] = {}
        self._latest: dict[str, dict[str, Any]] = {}
        self._scored: dict[str, dict[str, Any]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """By its state, whatever the controller is made of: Tune pickles a search algorithm with the `Tuner`."""
        return _restored, (type(self), self.config, self.metric, self.mode, self.get_state())

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """Always False: the search space is that of the configuration, and `param_space` may only hold constants."""
        return False

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Next neck; `Searcher.FINISHED` if too many necks in a row were over a limit."""
        try:
            proposal = self._candidates.next()
            number = self._candidates.number(proposal)
        except UnsatisfiedError as error:
            _log.error("no more trials are suggested: %s", error)
            return str(Searcher.FINISHED)
        self._issued[trial_id] = proposal
        candidate = self._candidates.of(proposal)
        suggested = suggestion(self.config, candidate, number)
        earlier = self._scored.get(_function(candidate))
        return suggested if earlier is None else {**suggested, COPIED: dict(earlier)}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Remember a result: a trial that is stopped while it pauses ends without one."""
        if trial_id in self._issued:
            self._latest[trial_id] = kept(result, str(self.metric), self.config)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the controller; a trial that was told before or is not this searcher's is ignored."""
        if (proposal := self._issued.get(trial_id)) is None:
            return
        if result is not None:
            self.on_trial_result(trial_id, result)
        metrics = self._latest.get(trial_id)
        outcome = self._outcome(proposal, None if error else metrics)
        self.controller.observe([outcome])
        del self._issued[trial_id]
        self._latest.pop(trial_id, None)
        if outcome.reward is not None:
            self._scored.setdefault(_function(self._candidates.of(proposal)), dict(outcome.metrics))

    def get_state(self) -> dict[str, Any]:
        """Plain data for JSON, from which `set_state` recovers this searcher with its pending trials."""
        return {
            "format": FORMAT_VERSION,
            "metric": self.metric,
            "mode": self.mode,
            "controller": self.controller.state_dict(),
            "issued": {trial_id: proposal.id for trial_id, proposal in self._issued.items()},
            "latest": {trial_id: dict(metrics) for trial_id, metrics in self._latest.items()},
            "scored": {function: dict(metrics) for function, metrics in self._scored.items()},
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take over a state, in a searcher of the same configuration, metric and mode.

        Raises:
            ValueError: if the state is of another.
        """
        for key, ours in (("format", FORMAT_VERSION), ("metric", self.metric), ("mode", self.mode)):
            if state.get(key) != ours:
                raise ValueError(f"the state has {key} = {state.get(key)!r}, this searcher has {ours!r}")
        self.controller.load_state_dict(state["controller"])
        pending = {proposal.id: proposal for proposal in self.controller.pending}
        self._issued = {trial_id: pending[number] for trial_id, number in state["issued"].items()}
        self._latest = {trial_id: dict(metrics) for trial_id, metrics in state["latest"].items()}
        self._scored = {function: dict(metrics) for function, metrics in state["scored"].items()}

    def save(self, checkpoint_path: str) -> None:
        """Write the state as JSON."""
        atomic_write(Path(checkpoint_path), json.dumps(self.get_state()))

    def restore(self, checkpoint_path: str) -> None:
        """Read what `save` wrote.

        Raises:
            UserError: if the file is not there, is damaged, or is of another configuration.
        """
        try:
            self.set_state(json.loads(Path(checkpoint_path).read_text()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"the searcher's state {checkpoint_path} cannot be taken over: {error}; it must be of a NeckSearcher "
                "of the same configuration, metric and mode"
            ) from error

    def _outcome(self, proposal: Proposal, metrics: Mapping[str, Any] | None) -> Outcome:
        if metrics is None:
            return Outcome(proposal, None, "failed")
        if metrics["state"] == REJECTED:
            self._candidates.reject(proposal, metrics)
            return Outcome(proposal, None, "failed", metrics)
        try:
            reward = self._reward(metrics)
            objectives = objectives_of(self.config.reward, metrics)
        except RewardError as error:
            _log.warning("trial %d is told to the controller as failed: %s", self._candidates.number(proposal), error)
            return Outcome(proposal, None, "failed", metrics)
        objectives = None if objectives is None else (reward, *objectives[1:])
        return Outcome(proposal, reward, "stopped" if metrics["state"] == TRAINING else "complete", metrics, objectives)

    def _reward(self, metrics: Mapping[str, Any]) -> float:
        value = metrics.get(str(self.metric))
        if value is None:
            raise RewardError(f"{self.metric} was not reported as a finite number")
        return float(value if self.mode == "max" else -value)


def _function(candidate: Candidate) -> str:
    """Equal for candidates that compute the same function up to weights."""
    return f"{candidate.genotype.fingerprint}:{candidate.channels}"


def _restored(
    cls: type[NeckSearcher], config: SearchConfig, metric: str, mode: str, state: Mapping[str, Any]
) -> NeckSearcher:
    searcher = cls(config, metric=metric, mode=mode)
    searcher.set_state(state)
    return searcher
