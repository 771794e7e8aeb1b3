"""Trains cases on all workers of this machine or of a cluster."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from nas import interruption
from nas.comparison.bank import Bank
from nas.comparison.case import Case, Metrics, Result
from nas.data.archive import absolute
from nas.detection.config import absolute_weights
from nas.proxy.trial import TrialError
from nas.search.cluster import connected, nodes, require_room
from nas.search.config import ResourceConfig
from nas.terminal import shown
from nas.text import MESSAGE_LIMIT
from nas.workers.answers import Failed, Ready
from nas.workers.guarded import guarded
from nas.workers.pool import Pool, make_workers

if TYPE_CHECKING:
    from nas.proxy.task import ProxyTask

TASKS_KEPT = 16
"""Proxy tasks that a worker keeps; each holds its backbone and its anchors' targets, and shares its features."""

_log = logging.getLogger(__name__)

PHASE_METRIC = "seconds/"
"""Prefix of the seconds of each of `nas.proxy.phases.PHASES`; `seconds` are those of the whole training."""

CasePool = Pool[Case, Metrics]

Told = Callable[[Case, Result, int], None]
"""Is told of every result, with the number of cases that are left."""


def train_all(
    cases: Sequence[Case], bank: Bank, resources: ResourceConfig, told: Told, *, address: str | None = None
) -> None:
    """Train what the bank has no score of, in the order given; what failed before is tried again.

    The caller has claimed the bank.

    Args:
        resources: of one training; its `trial_seconds`, meant for a search's trials, is not kept to.
        address: of a running Ray cluster; None starts Ray on this machine and stops it afterwards.

    Raises:
        WorkersError, ConfigError: when nothing can be trained.
        KeyboardInterrupt: as it comes; everything finished is in the bank.
    """
    left = list({case.key: case for case in cases if not bank.metrics(case)}.values())
    if not left:
        return
    resources = replace(resources, trial_seconds=None)
    placed = [_with_absolute_paths(case) for case in left]
    originals = {case.key: original for case, original in zip(placed, left, strict=True)}
    with connected(resources, address):
        require_room(resources, wait=resources.wait_seconds if address else 0)
        make = make_workers(CaseWorker, placed[0], resources.gpus > 0)
        pool: CasePool = Pool(make, resources, lambda: nodes(resources))
        try:
            with interruption.deferred():
                for done, (case, answer) in enumerate(_answers(pool, placed), start=1):
                    result = Result(None, answer.error) if isinstance(answer, Failed) else Result(answer)
                    bank.add(originals[case.key], result)
                    told(originals[case.key], result, len(left) - done)
        finally:
            pool.close()


def _with_absolute_paths(case: Case) -> Case:
    """Workers may run in another directory."""
    proxy = replace(case.proxy, backbone=absolute_weights(case.proxy.backbone))
    return replace(case, data=absolute(case.data), proxy=proxy)


def _answers(pool: CasePool, cases: Sequence[Case]) -> Iterator[tuple[Case, Metrics | Failed]]:
    waiting = iter(cases)
    done = 0
    while done < len(cases):
        pool.assign(lambda: next(waiting, None))
        replies = pool.replies()
        done += len(replies)
        yield from replies


class CaseWorker:
    """A process that trains cases.

    Args:
        first: its data and features stand for those of all, to find out whether this machine has them.
    """

    def __init__(self, first: Case, on_gpu: bool) -> None:
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

    def run(self, case: Case) -> Metrics | Failed:
        return guarded(lambda: self._train(case), str(case), expected=(TrialError,))

    def _train(self, case: Case) -> Metrics:
        from nas.proxy.candidate import candidate_neck
        from nas.proxy.phases import Phases

        task = self._task(case)
        phases = Phases(task.device if case.profiled or task.device.type == "cpu" else None)
        build = partial(candidate_neck, case.genotype, config=case.proxy.neck)
        start = time.perf_counter()
        metrics = task.run_neck(build, case.seed, phases=phases).metrics
        seconds = {f"{PHASE_METRIC}{name}": value for name, value in phases.seconds.items()}
        return {**metrics, **seconds, "seconds": time.perf_counter() - start}

    def _task(self, case: Case) -> ProxyTask:
        from nas.proxy.task import ProxyTask

        proxy = case.proxy
        if proxy.device == "auto" and not self._on_gpu:
            proxy = replace(proxy, device="cpu")
        identity = (proxy, case.data, case.split)
        if identity not in self._tasks:
            while len(self._tasks) >= TASKS_KEPT:
                del self._tasks[next(iter(self._tasks))]
            self._tasks[identity] = ProxyTask(proxy, case.data, case.split)
        return self._tasks[identity]
