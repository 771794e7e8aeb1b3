"""Callbacks of a search for a running trial: limits, rungs, checkpoints."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayTaskError

from nas.engine.trial import TrialRequest
from nas.proxy.trial import TrialCallbacks
from nas.search.config import SearchConfig
from nas.search.constraints import Measured, RejectedError, violations
from nas.search.costs import CostError, own_costs
from nas.search.metrics import plain_metrics
from nas.search.reward import reward_of
from nas.search.stopping import RUNG_METRIC

if TYPE_CHECKING:
    from ray.actor import ActorHandle

    from necks import Neck

_log = logging.getLogger(__name__)


class SearchCallbacks(TrialCallbacks):
    """Callbacks of the search for one trial.

    Args:
        server: the actor of a `TrialServer`, needed for rungs and checkpoints only.

    Attributes:
        rewards: at rungs, by the names in the trial's metrics.
        costs: of the user's own; known when `before_training` was called, which `was_asked` says.
    """

    def __init__(self, config: SearchConfig, request: TrialRequest, server: ActorHandle[Any] | None = None) -> None:
        self.channels = request.candidate.channels
        self.start = request.start
        self.keeps_weights = request.keeps_weights
        self._config = config
        self._request = request
        self._server = server
        self.rungs = config.stopping.rungs if request.candidate.is_limited and server is not None else ()
        self.checkpoint_seconds = None if server is None else config.resources.checkpoint_seconds
        self.rewards: dict[str, float] = {}
        self.costs: dict[str, float] = {}
        self.was_asked = False

    def before_training(self, measured: Measured, neck: Neck | None = None) -> None:
        self.was_asked = True
        plain = plain_metrics(measured)
        self.costs = own_costs(self._config.costs, self._request.candidate.genotype, neck)
        known = {**plain, **self.costs}
        self._require_limited(known)
        if self._request.candidate.is_limited and violations(self._config.constraints, known):
            raise RejectedError(known)

    def _require_limited(self, known: Measured) -> None:
        """
        Raises:
            CostError: if there is a limit on a cost that no function returned.
        """
        for name in self._config.constraints.max_costs:
            if name not in known:
                returned = ", ".join(self.costs) or "nothing"
                raise CostError(f"constraints.max_costs limits {name!r}; the functions of costs returned {returned}")

    def stops_at(self, step: int, metrics: Mapping[str, float | None]) -> bool:
        plain = plain_metrics({**metrics, **self.costs}, self._config.reward.needed)
        reward = reward_of(self._config.reward, plain)
        self.rewards[f"{RUNG_METRIC}{step}"] = reward
        assert self._server is not None
        return bool(ray.get(self._server.stops.remote(self._request.number, step, reward)))

    def load_checkpoint(self) -> bytes | None:
        """As the task saved it; what was scored at rungs before comes back with it."""
        if self._server is None or self.checkpoint_seconds is None:
            return None
        kept: bytes | None = ray.get(self._server.load_checkpoint.remote(self._request.key))
        if kept is None:
            return None
        rewards, _, data = kept.partition(b"\n")
        self.rewards |= json.loads(rewards)
        ray.get(self._server.remember.remote(self._request.number, self.rewards))
        return data

    def save_checkpoint(self, data: bytes) -> None:
        """A checkpoint that cannot be kept, on a full disk say, is no reason to fail."""
        assert self._server is not None
        kept = json.dumps(self.rewards).encode() + b"\n" + data
        try:
            ray.get(self._server.save_checkpoint.remote(self._request.key, kept))
        except RayTaskError as error:
            _log.warning("no checkpoint of trial %d could be saved: %s", self._request.number, error.cause)
