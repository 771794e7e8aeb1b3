"""Demand of a search for room in a cluster that starts machines by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nas.search.resources import ResourceConfig


@contextmanager
def demanded(resources: ResourceConfig) -> Iterator[None]:
    """Context with room for `resources.workers` trials: Ray's autoscaler starts machines for it and keeps them.

    Workers are bound to machines that are there, which asks for no others. Without `workers` nothing is asked for, and
    a cluster without an autoscaler takes no notice. Ray keeps one such demand, the latest of all its jobs; that of a
    process that is killed stays until the next one or the end of the cluster. Ray is connected already.
    """
    if resources.workers is None:
        yield
        return
    from ray.autoscaler.sdk import request_resources

    room = {"CPU": resources.cpus, "GPU": resources.gpus}
    bundles = [{name: amount for name, amount in room.items() if amount} for _ in range(resources.workers)]
    request_resources(bundles=bundles)
    try:
        yield
    finally:
        request_resources(bundles=[])
