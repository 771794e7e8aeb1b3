"""Ray for the time of a search, and what its nodes have room for."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import ray
from ray.exceptions import AuthenticationError

from nas import interruption
from nas.configuration import ConfigError
from nas.credentials import reason, without_credentials
from nas.search.resources import ResourceConfig
from nas.workers.demand import Demand
from nas.workers.head_watch import shut_down, watched
from nas.workers.private_ray import environment
from nas.workers.ray_start import SETTINGS, kept_handlers, local_ray, silence
from nas.workers.start_watch import watched_start
from nas.workers.unprotected import warn_if_open

_log = logging.getLogger(__name__)

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    **SETTINGS,
    "MALLOC_MMAP_THRESHOLD_": "2000000000",
    "MALLOC_TRIM_THRESHOLD_": "4000000000",
}
"""The C library's allocator, told to keep large buffers, makes a training step on the CPU a tenth quicker."""

QUIET = {"logging_level": logging.ERROR, "log_to_driver": False}


@dataclass(frozen=True)
class Node:
    """A machine of the cluster.

    Args:
        id: Ray's, another one each time the machine joins.
        slots: trials that it has room for when nothing else runs on it.
    """

    id: str
    name: str
    slots: int


@contextmanager
def connected(resources: ResourceConfig, address: str | None) -> Iterator[None]:
    """Ray on this machine or at an address, or the one that is running in this process already.

    Workers on this machine import from where this process does.

    Raises:
        ConfigError: if there is no cluster at the address, or Ray cannot be started on this machine.
        RayLostError: at the end, if Ray's head process ended meanwhile.
    """
    settings = {
        **ENVIRONMENT,
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
    }
    with environment(settings):
        if ray.is_initialized():
            warn_if_open()
            yield
        elif address is None:
            options = {"num_cpus": _local_cpus(resources), "include_dashboard": False, **QUIET}
            with watched_start() as is_up, local_ray(**options) as end_all, watched(None, end_all):
                is_up()
                yield
        else:
            with _joined(address), watched(address):
                warn_if_open()
                yield


def nodes(resources: ResourceConfig) -> list[Node]:
    """The machines that live and have room for a trial, in the order of their ids."""
    found = []
    for entry in ray.nodes():
        slots = fitting(resources, entry["Resources"]) if entry["Alive"] else 0
        if slots:
            found.append(Node(entry["NodeID"], entry["NodeManagerHostname"], slots))
    return sorted(found, key=lambda node: node.id)


def fitting(resources: ResourceConfig, available: dict[str, float]) -> int:
    """Trials that fit on one machine; a trial's share of a GPU lies on one GPU."""
    slots = int(available.get("CPU", 0) / resources.cpus + 1e-6)
    if resources.gpus:
        gpus = int(available.get("GPU", 0))
        per_gpu = int(1 / resources.gpus + 1e-6)
        slots = min(slots, gpus * per_gpu if per_gpu else int(gpus / resources.gpus))
    return slots


def require_room(resources: ResourceConfig, *, left: int, wait: float) -> None:
    """
    Args:
        left: payloads to come; the cluster is asked for room for as many of `resources.workers`.
        wait: seconds to wait for a machine with room.

    Raises:
        ConfigError: if no machine has room for a trial by then, saying what there is.
    """
    if nodes(resources):
        return
    deadline = time.monotonic() + wait
    demand = Demand(resources)
    if wait:
        _log.warning("%s; waiting up to %g s for more", shortage(resources), wait)
        demand.ask(min(resources.workers or 0, left))
    try:
        while not nodes(resources):
            if time.monotonic() >= deadline:
                raise ConfigError(
                    f"{shortage(resources)}; lower resources.cpus or resources.gpus, or start nodes that have them "
                    "(and let the search wait for them: resources.wait_seconds)"
                )
            time.sleep(min(1.0, wait))
    finally:
        demand.ask(0)


def shortage(resources: ResourceConfig) -> str:
    """Message on what a trial needs, and what the machines have."""
    alive = [entry for entry in ray.nodes() if entry["Alive"]]
    each = ", ".join(
        f"{entry['NodeManagerHostname']}: {entry['Resources'].get('CPU', 0):g} CPUs, "
        f"{entry['Resources'].get('GPU', 0):g} GPUs"
        for entry in alive[:8]
    )
    more = f" and {len(alive) - 8} more" if len(alive) > 8 else ""
    return (
        f"one trial needs {resources.cpus:g} CPUs and {resources.gpus:g} GPUs on one machine, "
        f"Ray has {len(alive)} ({each}{more})"
    )


def accelerators() -> tuple[str, ...]:
    """Kinds of GPUs in the cluster, as Ray calls them."""
    prefix = "accelerator_type:"
    return tuple(sorted(name.removeprefix(prefix) for name in ray.cluster_resources() if name.startswith(prefix)))


def _local_cpus(resources: ResourceConfig) -> int:
    wanted = (resources.workers or 0) * resources.cpus
    return max(os.cpu_count() or 1, round(wanted))


@contextmanager
def _joined(address: str) -> Iterator[None]:
    with kept_handlers():
        _connect(address)
    silence()
    try:
        yield
    finally:
        with interruption.deferred():
            shut_down()


def _connect(address: str) -> None:
    name = without_credentials(address)
    if address.startswith("ray://"):
        raise ConfigError(
            f"{name!r} is a Ray Client address; send the search to the cluster instead (nasfpn submit), or start it "
            "on a machine of the cluster with --address auto"
        )
    try:
        ray.init(address, **QUIET)
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"no Ray cluster at {name!r} ({reason(error, address)}); start one (ray start --head), check host and "
            "port (6379 unless chosen otherwise), set RAY_AUTH_MODE=token and its token if it has one, or leave "
            "--address out to use this machine"
        ) from error
    except AuthenticationError as error:
        raise ConfigError(
            f"RAY_AUTH_MODE=token, but there is no token for the cluster at {name!r}; set RAY_AUTH_TOKEN or "
            "RAY_AUTH_TOKEN_PATH to the token that it was started with, or copy it to ~/.ray/auth_token"
        ) from error
