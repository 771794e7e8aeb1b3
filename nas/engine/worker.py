"""A search's worker: one trial at a time in a process that stays warm between trials."""

from __future__ import annotations

import logging
import platform
from typing import TYPE_CHECKING, Any

from nas.engine.callbacks import SearchCallbacks
from nas.engine.task import Estimating, MakeTask, Task
from nas.engine.trial import Answer, TrialRequest, run_trial
from nas.search.config import SearchConfig
from nas.terminal import shown
from nas.text import MESSAGE_LIMIT
from nas.workers.answers import Ready

if TYPE_CHECKING:
    from ray.actor import ActorHandle

_log = logging.getLogger(__name__)


class Worker:
    """A process that makes the task once and then runs trials.

    Args:
        config: of the search.
        make_task: a module-level function.
        server: see `SearchCallbacks`.
    """

    def __init__(self, config: SearchConfig, make_task: MakeTask, server: ActorHandle[Any] | None) -> None:
        self._config = config
        self._make_task = make_task
        self._server = server
        self._task: Task | None = None

    def prepare(self, *, estimate: bool) -> Ready:
        """Make the task.

        Args:
            estimate: whether to find out how long a trial will take, if the task can tell.
        """
        try:
            self._task = self._make_task(self._config)
            seconds = self._task.estimate() if estimate and isinstance(self._task, Estimating) else None
        except Exception as error:
            _log.exception("the task could not be set up on %s", platform.node())
            return Ready(failure=shown(f"{type(error).__name__}: {error}", MESSAGE_LIMIT))
        return Ready(estimate=seconds)

    def run(self, request: TrialRequest) -> Answer:
        """See `run_trial`."""
        assert self._task is not None
        candidate = request.candidate
        hooks = SearchCallbacks(
            self._config,
            request.number,
            request.key,
            candidate.is_limited,
            self._server,
            channels=candidate.channels,
            start=request.start,
            keeps_weights=request.keeps_weights,
        )
        return run_trial(self._task, self._config, request, hooks)
