"""Pool of workers on the machines of a Ray cluster: a payload that loses its worker is tried again."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import ray
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nas import interruption
from nas.errors import first_line
from nas.search.resources import ResourceConfig
from nas.text import MESSAGE_LIMIT, plain
from nas.workers.answers import Failed, Ready
from nas.workers.placement import Placement
from nas.workers.ray_session import Node

_log = logging.getLogger(__name__)

Payload = TypeVar("Payload")
Result = TypeVar("Result")
_Payload = TypeVar("_Payload", contravariant=True)
_Result = TypeVar("_Result", covariant=True)


class Worker(Protocol[_Payload, _Result]):
    """A class of actors that a pool can use: a process that gets ready once and then runs payloads."""

    def prepare(self, *, estimate: bool) -> Ready:
        """Get ready.

        Args:
            estimate: whether to find out how long a payload will take, if that can be told.
        """
        ...

    def run(self, payload: _Payload) -> _Result | Failed:
        """Work on one payload; what it raises ends this process, and another tries the payload again."""
        ...


@dataclass(frozen=True)
class _Job(Generic[Payload]):
    """Args: attempts: workers that it has lost."""

    payload: Payload
    attempts: int = 0


_Outcome = tuple[_Job[Payload], Result | Failed]


@dataclass
class _Hired(Generic[Payload]):
    """A worker's actor, and what it does."""

    node: Node
    actor: Any
    job: _Job[Payload] | None = None
    """None while it gets ready."""

    deadline: float = float("inf")
    started: float = 0.0


class Pool(Generic[Payload, Result]):
    """Keeps as many workers as the machines have room for, each bound to one machine.

    Args:
        make: makes the actor of a `Worker`, given Ray's options for it.
        resources: what a payload takes, how long it may, and how often it is tried again.
        nodes: the machines there are now.

    Attributes:
        on_first: called once, when the first worker is ready, with its estimate of a payload's seconds, if it has one.
        lost: attempts that lost their worker.
        most: payloads at once, at most so far.
        busy_seconds: of workers with payloads.
    """

    def __init__(
        self, make: Callable[[dict[str, Any]], Any], resources: ResourceConfig, nodes: Callable[[], list[Node]]
    ) -> None:
        self._make = make
        self._resources = resources
        self._placement = Placement(resources, nodes)
        self._waiting: dict[Any, _Hired[Payload]] = {}
        self._idle: list[_Hired[Payload]] = []
        self._again: deque[_Job[Payload]] = deque()
        self._any_ready = False
        self.on_first: Callable[[float | None], None] = lambda estimate: None
        self.lost = 0
        self.most = 0
        self.busy_seconds = 0.0

    @property
    def size(self) -> int:
        """Workers that are ready or get ready."""
        return len(self._waiting) + len(self._idle)

    @property
    def idle(self) -> int:
        """Workers that are ready and have no payload."""
        return len(self._idle)

    @property
    def running(self) -> int:
        """Payloads in work or to be tried again."""
        return len(self._again) + sum(worker.job is not None for worker in self._waiting.values())

    def close(self) -> None:
        """End all workers, and ask for no more machines."""
        for worker in (*self._waiting.values(), *self._idle):
            ray.kill(worker.actor)
        self._waiting.clear()
        self._idle.clear()
        self._placement.close()

    def assign(self, payloads: Callable[[], Payload | None]) -> bool:
        """Give every idle worker a payload; False if there were too few.

        Args:
            payloads: gives the next one, None when there is none to start now.
        """
        while self._idle:
            job = self._again.popleft() if self._again else _job_of(payloads())
            if job is None:
                return False
            self._start(self._idle.pop(), job)
        return True

    def _start(self, worker: _Hired[Payload], job: _Job[Payload]) -> None:
        worker.job, worker.started = job, time.monotonic()
        worker.deadline = worker.started + (self._resources.trial_seconds or float("inf"))
        self.most = max(self.most, self.running + 1)
        self._waiting[worker.actor.run.remote(job.payload)] = worker

    def replies(self, left: int) -> list[tuple[Payload, Result | Failed]]:
        """Results of payloads, after waiting for up to a second; looks after the workers, too.

        Args:
            left: payloads without a result, those in work included; more workers are not kept.

        Raises:
            Interrupted: when the command was asked to end.
            WorkersError: when no machine can run a payload.
        """
        interruption.check()
        self._dismiss(self.size - left)
        workers = (*self._waiting.values(), *self._idle)
        for node in self._placement.vacancies([worker.node for worker in workers], left):
            self._hire(node)
        return [(job.payload, result) for job, result in self._replies()]

    def _replies(self) -> Iterator[_Outcome[Payload, Result]]:
        if not self._waiting:
            time.sleep(0.2)
            return
        refs = list(self._waiting)
        ready, _ = ray.wait(refs, num_returns=1, timeout=self._patience())
        if ready and len(refs) > 1:
            ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        for ref in ready:
            worker = self._waiting.pop(ref)
            if worker.job is None:
                self._take_prepared(worker, ref)
            else:
                yield from self._take_reply(worker, worker.job, ref)
        yield from self._overdue()

    def _patience(self) -> float:
        nearest = min(worker.deadline for worker in self._waiting.values()) - time.monotonic()
        return max(0.0, min(1.0, nearest))

    def _take_prepared(self, worker: _Hired[Payload], ref: Any) -> None:
        try:
            ready: Ready = ray.get(ref)
        except RayError as error:
            self._lose(worker)
            self._placement.died_early(worker.node, _why(error))
            return
        if ready.failure is not None:
            self._end(worker)
            self._placement.cannot_start(worker.node, ready.failure)
            return
        self._placement.is_ready(worker.node)
        self._idle.append(worker)
        if not self._any_ready:
            self._any_ready = True
            self.on_first(ready.estimate)

    def _take_reply(self, worker: _Hired[Payload], job: _Job[Payload], ref: Any) -> Iterator[_Outcome[Payload, Result]]:
        self.busy_seconds += time.monotonic() - worker.started
        try:
            result: Result | Failed = ray.get(ref)
        except RayError as error:
            self._lose(worker)
            yield from self._try_again(job, _why(error))
            return
        worker.job, worker.deadline = None, float("inf")
        self._idle.append(worker)
        yield job, result

    def _try_again(self, job: _Job[Payload], reason: str) -> Iterator[_Outcome[Payload, Result]]:
        self.lost += 1
        job = replace(job, attempts=job.attempts + 1)
        if job.attempts <= self._resources.max_retries:
            _log.warning("%s lost its worker (%s); it is tried again", job.payload, reason)
            self._again.append(job)
            return
        yield job, Failed(f"the worker died {job.attempts} times (resources.max_retries); the last time: {reason}")

    def _overdue(self) -> Iterator[_Outcome[Payload, Result]]:
        now = time.monotonic()
        for ref, worker in [item for item in self._waiting.items() if item[1].deadline <= now]:
            del self._waiting[ref]
            self._end(worker)
            self.busy_seconds += now - worker.started
            assert worker.job is not None
            limit = self._resources.trial_seconds
            yield worker.job, Failed(f"took longer than resources.trial_seconds = {limit:g}; it was ended")

    def _hire(self, node: Node) -> None:
        options = {
            "num_cpus": self._resources.cpus,
            "num_gpus": self._resources.gpus,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(node.id, soft=False),
        }
        actor = self._make(options)
        self._waiting[actor.prepare.remote(estimate=not self._any_ready)] = _Hired(node, actor)

    def _dismiss(self, count: int) -> None:
        """End so many idle workers, first on machines with the least work: one without any may be given back."""
        busy = Counter(worker.node.id for worker in self._waiting.values())
        self._idle.sort(key=lambda worker: busy[worker.node.id], reverse=True)
        for _ in range(min(count, len(self._idle))):
            ray.kill(self._idle.pop().actor)

    def _lose(self, worker: _Hired[Payload]) -> None:
        """Its machine may be gone: the idle workers there are not trusted with a payload, but replaced."""
        self._end(worker)
        for idle in [other for other in self._idle if other.node.id == worker.node.id]:
            self._idle.remove(idle)
            self._end(idle)

    def _end(self, worker: _Hired[Payload]) -> None:
        ray.kill(worker.actor)
        self._placement.look_again()


def make_workers(worker: type[Worker[Payload, Result]], *arguments: Any) -> Callable[[dict[str, Any]], Any]:
    """Factory of actors of this class with these arguments, all but the last of which each machine gets once."""
    kept = [ray.put(argument) for argument in arguments[:-1]]
    actor_class: Any = ray.remote(worker)

    def make(options: dict[str, Any]) -> Any:
        return actor_class.options(**options).remote(*kept, arguments[-1])

    return make


def _job_of(payload: Payload | None) -> _Job[Payload] | None:
    return None if payload is None else _Job(payload)


def _why(error: RayError) -> str:
    if isinstance(error, OutOfMemoryError):
        return "its machine ran out of memory"
    if isinstance(error, RayTaskError):
        return first_line(error.cause)
    if getattr(error, "actor_init_failed", False):
        return plain(str(error).strip().splitlines()[-1], MESSAGE_LIMIT)
    return "killed, out of memory, a broken GPU context, or its machine went away"
