"""One Ray for all searches of a module: what is tested is the search, not Ray's start."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest
import ray

from nas.workers.private_ray import private_ray


@pytest.fixture(scope="module")
def shared_ray() -> Iterator[None]:
    os.environ["PYTHONPATH"] = os.pathsep.join(entry for entry in sys.path if entry)
    with private_ray():
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield
        ray.shutdown()
