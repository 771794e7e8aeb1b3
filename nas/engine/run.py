"""The search itself: a scheduler, a journal, and workers on Ray."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nas import interruption
from nas.data.archive import absolute
from nas.detection.config import absolute_weights
from nas.engine.scheduler import TrialScheduler
from nas.engine.task import MakeTask, configured_task
from nas.engine.trial import Answer, Rejected, Scored, TrialRequest, trial_seed
from nas.engine.trial_server import TrialServer, checkpoint_file
from nas.engine.usage import Listener, Usage
from nas.engine.worker import TrialWorker
from nas.errors import UserError
from nas.proxy.trial import Start
from nas.references import trust
from nas.runs.journal import open_journal
from nas.runs.kept_weights import KeptWeights
from nas.runs.run_directory import RunDirectory
from nas.runs.start_weights import StartWeights
from nas.search.config import SearchConfig, code_of
from nas.search.inheritance import Inheritance, InheritConfig
from nas.search.records import Trial
from nas.workers.answers import Failed
from nas.workers.placement import WorkersError
from nas.workers.pool import Pool, make_workers
from nas.workers.ray_session import accelerators, connected, nodes, require_room
from search_space.references import is_trusted

if TYPE_CHECKING:
    from ray.actor import ActorHandle

_log = logging.getLogger(__name__)

TrialPool = Pool[TrialRequest, Scored | Rejected]

MAX_FAILED_FIRST = 5
"""Trials that may fail before any is scored; then the fault is not the candidates'."""


def run_search(
    config: SearchConfig,
    run: RunDirectory,
    listener: Listener,
    *,
    address: str | None = None,
    make_task: MakeTask = configured_task,
) -> list[Trial]:
    """Run the search to its end, or go on with it; the caller has claimed the run directory.

    Args:
        listener: is told how the search gets on.
        address: of a running Ray cluster; None starts Ray on this machine and stops it afterwards.
        make_task: makes what trains candidates, once in every worker; a module-level function.

    Returns:
        All trials by number.

    Raises:
        StoppedError: when a signal (Ctrl-C, SIGTERM) ended it; everything finished is in the journal.
        RayLostError: when Ray's head process ended; the same holds.
        JournalError: when the journal is damaged, or was deleted or changed by another program meanwhile.
        UnsatisfiedError: when too many candidates in a row are over a limit of `config.constraints`.
        WorkersError, DataError, BackboneError: when no candidate could be trained at all.
    """
    trust(code_of(config))
    journal = open_journal(run, writable=True)
    finished: list[Trial] = []
    scheduler = TrialScheduler(config, journal, finished.append, kept=StartWeights(run))

    def tell() -> None:
        for trial in finished:
            listener.finished(trial, scheduler)
        finished.clear()

    try:
        if scheduler.left:
            scheduler.prepare()
            _work(scheduler, run, listener, tell, address, make_task)
    except KeyboardInterrupt:
        raise interruption.ended(_stopped(scheduler)) from None
    if scheduler.left:
        raise UserError(_stopped(scheduler))
    journal.require_intact()
    return journal.trials()


def _work(
    scheduler: TrialScheduler,
    run: RunDirectory,
    listener: Listener,
    tell: Callable[[], None],
    address: str | None,
    make_task: MakeTask,
) -> None:
    config = scheduler.config
    with connected(config.resources, address):
        config = _for_workers(config)
        wait = config.resources.wait_seconds if address else 0
        require_room(config.resources, left=scheduler.left, wait=wait)
        if address is None and not config.resources.gpus:
            make_task(config)
        with _pool(config, run, scheduler.journal.trials(), make_task, listener) as pool, interruption.deferred():

            def begin(estimate: float | None) -> None:
                scheduler.proposers.budget.start()
                listener.expect(scheduler, pool.size, estimate)

            pool.on_first = begin
            drive(scheduler, pool, run, tell)


def _stopped(scheduler: TrialScheduler) -> str:
    return f"stopped with {scheduler.left} trials to go; run the same command again to go on"


@contextmanager
def _pool(
    config: SearchConfig,
    run: RunDirectory,
    trials: list[Trial],
    make_task: MakeTask,
    listener: Listener,
) -> Iterator[TrialPool]:
    """The workers, which end with the context."""
    start = time.monotonic()
    server = _server(config, run, trials)
    pool: TrialPool = Pool(
        make_workers(TrialWorker, config, make_task, server, str(Path.cwd())),
        config.resources,
        lambda: nodes(config.resources),
    )
    gpus = accelerators()
    try:
        yield pool
        gpus = accelerators()
    finally:
        pool.close()
        if server is not None:
            ray.kill(server)
        listener.ended(
            Usage(
                seconds=time.monotonic() - start,
                worker_seconds=pool.busy_seconds,
                lost=pool.lost,
                workers=pool.most,
                gpus=gpus,
            )
        )


def _server(config: SearchConfig, run: RunDirectory, trials: list[Trial]) -> ActorHandle[Any] | None:
    """The actor of a `TrialServer` on this machine; None without rungs and checkpoints, which alone need it."""
    if not config.stopping.rungs and config.resources.checkpoint_seconds is None:
        return None
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    options = {"num_cpus": 0, "scheduling_strategy": here, "max_restarts": -1, "max_task_retries": -1}
    actor: ActorHandle[Any] = (
        ray.remote(TrialServer).options(**options).remote(config.stopping, run.checkpoints, trials)
    )
    return actor


def drive(scheduler: TrialScheduler, pool: TrialPool, run: RunDirectory, tell: Callable[[], None]) -> None:
    """Hand out the scheduler's trials, and take what becomes of them; `tell` is called when that is in the journal."""
    weights = KeptWeights(run, scheduler.config.keep_weights, scheduler.journal.trials())
    starts = StartWeights(run)
    first = _FirstTrials()
    exhausted = False
    while (left := scheduler.left) and (not exhausted or pool.running or scheduler.may_go_on):
        replies = pool.replies(left)
        with scheduler.journal.together():
            errors = [error for each in replies if (error := _take(scheduler, weights, starts, *each))]
            exhausted = not errors and not pool.assign(lambda: _next_request(scheduler, starts))
        tell()
        weights.clear()
        if replies:
            starts.keep(scheduler.lineages.needed())
        for request, answer in replies:
            checkpoint_file(run.checkpoints, request.key).unlink(missing_ok=True)
            first.check(answer)
        if errors:
            scheduler.journal.require_intact()  # else that is why
            raise errors[0]


class _FirstTrials:
    """Ends a search in which nothing but failures comes."""

    def __init__(self) -> None:
        self._failed = 0
        self._any_scored = False

    def check(self, answer: Answer) -> None:
        """
        Raises:
            WorkersError: if the first trials all failed.
        """
        self._any_scored |= isinstance(answer, Scored)
        if not isinstance(answer, Failed):
            return
        self._failed += 1
        if not self._any_scored and self._failed == MAX_FAILED_FIRST:
            raise WorkersError(
                f"the first {MAX_FAILED_FIRST} trials all failed, so the search was stopped; the last reason: "
                f"{answer.error}"
            )


def _next_request(scheduler: TrialScheduler, starts: StartWeights) -> TrialRequest | None:
    following = scheduler.next()
    if following is None:
        return None
    number, candidate = following
    inherit = scheduler.config.inherit
    return TrialRequest(
        number=number,
        candidate=candidate,
        seed=trial_seed(scheduler.config, number),
        start=_start(inherit, scheduler.lineages.begun(number), starts),
        keeps_weights=inherit.is_on and candidate.confirms is None,
        code=tuple(cell.merge for cell in candidate.genotype.cells if is_trusted(cell.merge)),
    )


def _start(inherit: InheritConfig, inheritance: Inheritance | None, starts: StartWeights) -> Start | None:
    weights = None if inheritance is None else starts.get(inheritance.source)
    return None if weights is None else Start(weights, inherit.steps or 0, inherit.lr)


def _take(
    scheduler: TrialScheduler, weights: KeptWeights, starts: StartWeights, request: TrialRequest, answer: Answer
) -> UserError | None:
    """Record what became of a trial; what ends the search is returned, so that the other trials are recorded, too."""
    number = request.number
    try:
        match answer:
            case Rejected(measured):
                scheduler.reject(number, measured)
            case Failed(error):
                scheduler.fail(number, error)
            case Scored():
                _keep(scheduler, weights, starts, request, answer)
                scheduler.complete(number, answer.metrics, stopped=answer.stopped, inherited=answer.inherited)
    except UserError as error:
        return error
    return None


def _keep(
    scheduler: TrialScheduler, weights: KeptWeights, starts: StartWeights, request: TrialRequest, scored: Scored
) -> None:
    """Write the weights of a trial before its outcome, so that no outcome is without them."""
    number = request.number
    if scored.weights is not None:
        starts.add(number, scored.weights)
    if not scored.stopped and not scheduler.is_control(number):
        reward, _ = scheduler.settled(number, scored.metrics, inherited=scored.inherited)
        is_limited, is_published = request.candidate.is_limited, scheduler.is_published(number)
        weights.add(number, scored.neck, reward=reward, keep=not is_limited, is_published=is_published)


def _for_workers(config: SearchConfig) -> SearchConfig:
    """With absolute paths: workers may run in another directory."""
    proxy = replace(config.proxy, backbone=absolute_weights(config.proxy.backbone))
    data = None if config.data is None else absolute(config.data)
    return replace(config, data=data, proxy=proxy)
