from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest
import ray

from nas.search.resources import ResourceConfig
from nas.workers.private_ray import private_ray
from nas.workers.ray_session import connected


@pytest.fixture(scope="module")
def one_ray() -> Iterator[None]:
    """A Ray as the commands start it, which all commands of a module then use: its start is not what they test."""
    with connected(ResourceConfig(workers=2), None):
        yield


@pytest.fixture(scope="module")
def shared_ray() -> Iterator[None]:
    """One Ray for all searches of a module: what is tested is the search, not Ray's start."""
    os.environ["PYTHONPATH"] = os.pathsep.join(entry for entry in sys.path if entry)
    with private_ray():
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield
        ray.shutdown()
