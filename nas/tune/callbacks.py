"""Callbacks of a trial that runs under Ray Tune: rungs are reported, checkpoints are Tune's."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ray import tune

from nas.engine.callbacks import SearchCallbacks
from nas.engine.trial import TrialRequest
from nas.search.config import SearchConfig
from nas.search.metrics import plain_metrics
from nas.tune.results import TRAINING, scored

_log = logging.getLogger(__name__)

STATE_FILE = "training.checkpoint"


class TuneCallbacks(SearchCallbacks):
    """Callbacks for one trial.

    A rung's result waits for the checkpoint that the task saves right behind the rung, so that Tune gets both together:
    whatever it decides then, stopping, pausing or going on, a restored trial continues behind that rung.

    Args:
        checkpoints: False to report rungs at once, without any.
    """

    def __init__(self, config: SearchConfig, request: TrialRequest, *, checkpoints: bool) -> None:
        super().__init__(config, request)
        self.rungs = config.stopping.rungs
        self._checkpoints = checkpoints
        self._waiting: dict[str, Any] | None = None

    def stops_at(self, step: int, metrics: Mapping[str, float | None]) -> bool:
        """False: Tune ends a trial within its report."""
        self.report_late()
        plain = plain_metrics({**metrics, **self.costs}, self._config.reward.needed)
        result = scored(self._config, plain, steps=step, state=TRAINING)
        if self._checkpoints:
            self._waiting = result
            self.checkpoint_seconds = 0.0
        else:
            tune.report(result)
        return False

    def load_checkpoint(self) -> bytes | None:
        if (checkpoint := tune.get_checkpoint()) is None:
            return None
        with checkpoint.as_directory() as directory:
            state = Path(directory) / STATE_FILE
            return state.read_bytes() if state.is_file() else None

    def save_checkpoint(self, data: bytes) -> None:
        self.checkpoint_seconds = None
        if (result := self._taken()) is None:
            return
        with TemporaryDirectory() as directory:
            (Path(directory) / STATE_FILE).write_bytes(data)
            tune.report(result, checkpoint=tune.Checkpoint.from_directory(directory))

    def report_late(self) -> None:
        """Report a rung behind which the task saved no checkpoint, when it is too late to stop there."""
        if (result := self._taken()) is not None:
            _log.warning(
                "the task saved no checkpoint after the rung at step %d, so that Tune heard of it too late to stop the "
                "trial there; pass checkpoints=False for such a task",
                result["steps"],
            )
            tune.report(result)

    def _taken(self) -> dict[str, Any] | None:
        result, self._waiting = self._waiting, None
        return result
