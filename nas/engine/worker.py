"""Worker of a search: one trial at a time in a process that stays warm between trials."""

from __future__ import annotations

import logging
import platform
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from nas.engine.callbacks import SearchCallbacks
from nas.engine.task import Estimating, MakeTask, Task
from nas.engine.trial import Answer, Rejected, Scored, TrialRequest
from nas.proxy.trial import Trained, TrialError
from nas.references import trust
from nas.search.config import SearchConfig, code_of
from nas.search.constraints import RejectedError
from nas.search.metrics import plain_metrics
from nas.search.reward import COSTS, RewardError, reward_of
from nas.terminal import shown
from nas.text import MESSAGE_LIMIT
from nas.workers.answers import Ready
from nas.workers.guarded import guarded
from search_space.references import look_in

if TYPE_CHECKING:
    from ray.actor import ActorHandle

    from necks import Neck

_log = logging.getLogger(__name__)


def run_trial(task: Task, config: SearchConfig, request: TrialRequest, callbacks: SearchCallbacks) -> Answer:
    """Train and score; an error of the candidate comes back as an answer, so that nobody tries it again.

    Raises:
        torch.AcceleratorError, OSError: when it is this process or its machine that can no longer run trials.
    """

    def train() -> Scored | Rejected:
        start = time.perf_counter()
        try:
            result = task.run(request.candidate.genotype, request.seed, callbacks)
            trained = result if isinstance(result, Trained) else Trained(result, None)  # type: ignore[arg-type]
            metrics = plain_metrics(trained.metrics, config.reward.needed)
            if not callbacks.was_asked:
                callbacks.before_training({name: metrics[name] for name in COSTS if name in metrics}, trained.neck)
        except RejectedError as rejection:
            return Rejected(rejection.measured)
        metrics |= callbacks.costs
        reward_of(config.reward, metrics)
        files = {} if trained.neck is None else _files(trained.neck)
        return Scored(
            metrics={**metrics, **callbacks.rewards, "seconds": time.perf_counter() - start},
            stopped=trained.stopped_at is not None,
            neck=files,
            inherited=trained.inherited,
            weights=trained.weights,
        )

    return guarded(train, str(request), expected=(TrialError, RewardError))


class TrialWorker:
    """A process that makes the task once and then runs trials.

    Args:
        config: of the search.
        make_task: a module-level function.
        server: see `SearchCallbacks`.
        directory: in which the search was started; code that the configuration names is looked for there first.
    """

    def __init__(
        self, config: SearchConfig, make_task: MakeTask, server: ActorHandle[Any] | None, directory: str = "."
    ) -> None:
        look_in(Path(directory))
        trust(code_of(config))
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
        trust(request.code)
        callbacks = SearchCallbacks(self._config, request, self._server)
        return run_trial(self._task, self._config, request, callbacks)


def _files(neck: Neck) -> dict[str, bytes]:
    from necks import save_exported

    with TemporaryDirectory() as directory:
        save_exported(neck, directory)
        return {path.name: path.read_bytes() for path in Path(directory).iterdir()}
