"""One attempt at a training: from the start or a checkpoint to the end or the rung at which it is stopped."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from nas.proxy.checkpoint import pack, unpack
from nas.proxy.training import Training
from nas.proxy.trial import TrialCallbacks

_log = logging.getLogger(__name__)

TRAINING, SCORING = "train_seconds", "eval_seconds"


class Attempt:
    """Trains and scores as the callbacks want it.

    Args:
        evaluate: scores the detector as it is and leaves it so.

    Attributes:
        seconds: `train_seconds` and `eval_seconds` so far, those before a checkpoint included.
        resumed_at: steps that the checkpoint held; None for a training from the start.
        stopped_at: the rung at which the callbacks stopped the training.
    """

    def __init__(self, training: Training, evaluate: Callable[[], dict[str, float]], callbacks: TrialCallbacks) -> None:
        self._training = training
        self._evaluate = evaluate
        self._callbacks = callbacks
        self._rungs = frozenset(rung for rung in callbacks.rungs if rung < training.config.steps)
        self._lap_start = self._saved = time.perf_counter()
        self.seconds = {TRAINING: 0.0, SCORING: 0.0}
        self.resumed_at: int | None = None
        self.stopped_at: int | None = None

    def run(self) -> dict[str, float]:
        """Train and score; the metrics of `evaluate` at the end or at the rung where the trial stops.

        A rung comes before the checkpoint of its step, so that no checkpoint skips a rung that was not asked about.

        Raises:
            TrialError: when the loss is no longer finite.
        """
        self._resume()
        for step in self._training.steps():
            if step in self._rungs:
                self._training.check_loss()
                metrics = self._score()
                if self._callbacks.stops_at(step, metrics):
                    self.stopped_at = step
                    return metrics
            self._save_when_due()
        return self._score()

    def _resume(self) -> None:
        data = self._callbacks.load_checkpoint()
        state = None if data is None else unpack(data, self._training.facts(), self._training.device)
        if state is not None:
            self._training.load_state(state["training"])
            self.seconds = state["seconds"]
            self.resumed_at = self._training.step
            _log.info("the training continues after step %d", self.resumed_at)

    def _save_when_due(self) -> None:
        period = self._callbacks.checkpoint_seconds
        if period is None or time.perf_counter() - self._saved < period:
            return
        self._lap(TRAINING)
        state = {"training": self._training.state(), "seconds": self.seconds}
        self._callbacks.save_checkpoint(pack(self._training.facts(), state))
        self._saved = time.perf_counter()

    def _score(self) -> dict[str, float]:
        self._lap(TRAINING)
        metrics = self._evaluate()
        self._lap(SCORING)
        return metrics

    def _lap(self, kind: str) -> None:
        """Count the seconds since the last lap as `kind`."""
        now = time.perf_counter()
        self.seconds[kind] += now - self._lap_start
        self._lap_start = now
