"""Demand of a pool for machines, in a cluster that starts them by itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ray.util import placement_group, remove_placement_group

from nas.search.resources import ResourceConfig

MOST = 256
"""Payloads for which room is asked at a time; each is a request to Ray's head."""


class Demand:
    """Room that is missing, as pending placement groups, for which Ray's autoscaler starts machines.

    Workers are bound to machines that are there, which asks for no others. The groups end with this process, even if it
    is killed. A cluster without an autoscaler takes no notice.
    """

    def __init__(self, resources: ResourceConfig) -> None:
        room = {"CPU": resources.cpus, "GPU": resources.gpus}
        self._bundle = {name: amount for name, amount in room.items() if amount}
        self._asked: tuple[int, list[str]] = (0, [])
        self._groups: list[Any] = []

    def ask(self, count: int, there: Iterable[str] = ()) -> None:
        """Ask for room for so many payloads, in place of what was asked before.

        Args:
            there: ids of the machines that are there, on which the groups take no room from workers.
        """
        asked = (min(count, MOST), sorted(there))
        if asked == self._asked or asked[0] == self._asked[0] == 0:
            return
        for group in self._groups:
            remove_placement_group(group)
        elsewhere = [{"ray.io/node-id": f"!in({','.join(asked[1])})"}] if asked[1] else None
        self._asked = asked
        self._groups = [placement_group([self._bundle], bundle_label_selector=elsewhere) for _ in range(asked[0])]
