"""On which machines a pool has room for more workers, and on which nothing can run."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence

from nas.errors import UserError
from nas.search.resources import ResourceConfig
from nas.workers.demand import Demand
from nas.workers.ray_session import Node

_log = logging.getLogger(__name__)

REFRESH_SECONDS = 3.0
"""Seconds between two looks for machines that joined, and for workers to replace."""

MAX_DEAD_STARTS = 3
"""Workers of a machine that may die before they are ready; then nothing more is started there."""


class WorkersError(UserError):
    """No candidate can be scored, for a reason that is not the candidates'."""


class Placement:
    """Knows the machines; a machine that leaves and comes back is another one.

    Args:
        resources: how many workers there shall be, and how long to wait for a first machine.
        nodes: the machines there are now.
    """

    def __init__(self, resources: ResourceConfig, nodes: Callable[[], list[Node]]) -> None:
        self._resources = resources
        self._nodes = nodes
        self._demand = Demand(resources)
        self._bad: dict[str, str] = {}
        self._dead_starts: Counter[str] = Counter()
        self._proven: set[str] = set()
        self._next_look = 0.0
        self._roomless_since: float | None = None

    def look_again(self) -> None:
        """A worker is gone: do not wait to replace it."""
        self._next_look = 0.0

    def close(self) -> None:
        """Ask for no more machines."""
        self._demand.ask(0)

    def vacancies(self, occupied: Sequence[Node], left: int) -> list[Node]:
        """A machine for each worker to start now, evenly spread; nothing between two looks.

        For workers that were asked for and find no room, the cluster is asked for machines.

        Args:
            occupied: the machine of each worker that there is.
            left: workers that have something to do.

        Raises:
            WorkersError: when no machine can run a trial, or none was there for `wait_seconds`.
        """
        now = time.monotonic()
        if now < self._next_look:
            return []
        self._next_look = now + REFRESH_SECONDS
        there = self._nodes()
        used = Counter(node.id for node in occupied)
        good = [node for node in there if node.id not in self._bad]
        room = [(index, node) for node in good for index in range(used[node.id], node.slots)]
        room.sort(key=lambda place: place[0])
        most = self._resources.workers or len(room) + len(occupied)
        wanted = max(0, min(most, left) - len(occupied))
        found = [node for _, node in room[:wanted]]
        self._demand.ask(wanted - len(found), (node.id for node in there))
        if found or occupied:
            self._roomless_since = None
        else:
            self._refuse_to_wait_for_ever(there, now)
        return found

    def is_ready(self, node: Node) -> None:
        """A worker there is ready."""
        self._dead_starts[node.id] = 0
        self._proven.add(node.id)

    def died_early(self, node: Node, reason: str) -> None:
        """A worker there did not get ready."""
        self._dead_starts[node.id] += 1
        if self._dead_starts[node.id] >= MAX_DEAD_STARTS:
            self._exclude(node, f"its workers do not get ready: {reason}")

    def cannot_start(self, node: Node, reason: str) -> None:
        """A worker there found that it cannot run trials; where others could, that may pass."""
        if node.id in self._proven:
            self.died_early(node, reason)
        else:
            self._exclude(node, reason)

    def _exclude(self, node: Node, reason: str) -> None:
        """Start nothing more there."""
        if node.id not in self._bad:
            _log.warning("nothing runs on %s: %s", node.name, reason)
        self._bad[node.id] = reason

    def _refuse_to_wait_for_ever(self, there: list[Node], now: float) -> None:
        if there and all(node.id in self._bad for node in there):
            reason = self._bad[there[-1].id]
            raise WorkersError(f"a worker could not be set up on any of {len(there)} machines: {reason}")
        self._roomless_since = self._roomless_since or now
        if now - self._roomless_since > self._resources.wait_seconds:
            raise WorkersError(
                f"no machine with room for a trial was there for {self._resources.wait_seconds:g} s "
                "(resources.wait_seconds); everything finished is kept: run the same command again to go on"
            )
