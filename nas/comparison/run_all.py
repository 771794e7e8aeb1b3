"""Trains jobs on all workers of this machine or of a cluster."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from nas import interruption
from nas.comparison.result_store import ResultStore
from nas.comparison.training_job import Metrics, Result, TrainingJob
from nas.data.archive import absolute
from nas.detection.config import absolute_weights
from nas.proxy.trial import TrialError
from nas.search.resources import ResourceConfig
from nas.terminal import shown
from nas.text import MESSAGE_LIMIT
from nas.workers.answers import Failed, Ready
from nas.workers.guarded import guarded
from nas.workers.pool import Pool, make_workers
from nas.workers.ray_session import connected, nodes, require_room

if TYPE_CHECKING:
    from nas.proxy.task import ProxyTask

TASKS_KEPT = 16
"""Proxy tasks that a worker keeps; each holds its backbone and its anchors' targets, and shares its features."""

_log = logging.getLogger(__name__)

PHASE_METRIC = "seconds/"
"""Prefix of the seconds of each of `nas.proxy.phases.PHASES`; `seconds` are those of the whole training."""

TrainingPool = Pool[TrainingJob, Metrics]

Told = Callable[[TrainingJob, Result, int], None]
"""Is told of every result, with the number of jobs that are left."""


def run_all(
    jobs: Sequence[TrainingJob],
    store: ResultStore,
    resources: ResourceConfig,
    told: Told,
    *,
    address: str | None = None,
) -> None:
    """Train what the store has no score of, in the order given; what failed before is tried again.

    The caller has claimed the store.

    Args:
        resources: of one training; its `trial_seconds`, meant for a search's trials, is not kept to.
        address: of a running Ray cluster; None starts Ray on this machine and stops it afterwards.

    Raises:
        WorkersError, ConfigError: when nothing can be trained.
        KeyboardInterrupt: as it comes; everything finished is in the store.
    """
    left = list({job.key: job for job in jobs if not store.metrics(job)}.values())
    if not left:
        return
    resources = replace(resources, trial_seconds=None)
    placed = [_with_absolute_paths(job) for job in left]
    originals = {job.key: original for job, original in zip(placed, left, strict=True)}
    with connected(resources, address):
        require_room(resources, left=len(placed), wait=resources.wait_seconds if address else 0)
        make = make_workers(TrainingWorker, placed[0], resources.gpus > 0)
        pool: TrainingPool = Pool(make, resources, lambda: nodes(resources))
        try:
            with interruption.deferred():
                for done, (job, answer) in enumerate(_answers(pool, placed), start=1):
                    result = Result(None, answer.error) if isinstance(answer, Failed) else Result(answer)
                    store.add(originals[job.key], result)
                    told(originals[job.key], result, len(left) - done)
        finally:
            pool.close()


def _with_absolute_paths(job: TrainingJob) -> TrainingJob:
    """Workers may run in another directory."""
    proxy = replace(job.proxy, backbone=absolute_weights(job.proxy.backbone))
    return replace(job, data=absolute(job.data), proxy=proxy)


def _answers(pool: TrainingPool, jobs: Sequence[TrainingJob]) -> Iterator[tuple[TrainingJob, Metrics | Failed]]:
    waiting = iter(jobs)
    done = 0
    while done < len(jobs):
        pool.assign(lambda: next(waiting, None))
        replies = pool.replies(len(jobs) - done)
        done += len(replies)
        yield from replies


class TrainingWorker:
    """A process that trains jobs.

    Args:
        first: its data and features stand for those of all, to find out whether this machine has them.
    """

    def __init__(self, first: TrainingJob, on_gpu: bool) -> None:
        self._first = first
        self._on_gpu = on_gpu
        self._tasks: dict[tuple[Any, ...], ProxyTask] = {}

    def prepare(self, *, estimate: bool) -> Ready:
        """Open the data, and compute features that are not there yet."""
        try:
            self._task(self._first)
        except Exception as error:
            _log.exception("nothing can be trained on %s", platform.node())
            return Ready(failure=shown(f"{type(error).__name__}: {error}", MESSAGE_LIMIT))
        return Ready()

    def run(self, job: TrainingJob) -> Metrics | Failed:
        return guarded(lambda: self._train(job), str(job), expected=(TrialError,))

    def _train(self, job: TrainingJob) -> Metrics:
        from nas.proxy.candidate import proxy_neck
        from nas.proxy.phases import Phases

        task = self._task(job)
        phases = Phases(task.device if job.profiled or task.device.type == "cpu" else None)
        build = partial(proxy_neck, job.topology, config=job.proxy.neck)
        start = time.perf_counter()
        metrics = task.run_neck(build, job.seed, phases=phases).metrics
        seconds = {f"{PHASE_METRIC}{name}": value for name, value in phases.seconds.items()}
        return {**metrics, **seconds, "seconds": time.perf_counter() - start}

    def _task(self, job: TrainingJob) -> ProxyTask:
        from nas.proxy.task import ProxyTask

        proxy = job.proxy
        if proxy.device == "auto" and not self._on_gpu:
            proxy = replace(proxy, device="cpu")
        identity = (proxy, job.data, job.split)
        if identity not in self._tasks:
            while len(self._tasks) >= TASKS_KEPT:
                del self._tasks[next(iter(self._tasks))]
            self._tasks[identity] = ProxyTask(proxy, job.data, job.split)
        return self._tasks[identity]
