"""A search on a cluster that starts its machines for it, and ends those that are not needed any more."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.support.autoscaled_nodes import AutoscaledNodes
from tests.support.toy_driver import Driver
from tests.support.toy_search import HOLD

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(params=[False, True], ids=["first autoscaler", "second autoscaler"])
def nodes(request) -> Iterator[AutoscaledNodes]:
    cluster = AutoscaledNodes(most=3, second_version=request.param)
    yield cluster
    cluster.stop()


def wait_for(nodes: AutoscaledNodes, machines: int) -> None:
    deadline = time.monotonic() + 90
    while nodes.machines != machines:
        assert time.monotonic() < deadline, nodes.machines
        time.sleep(0.5)


def test_machines_come_for_workers_and_go_with_the_last_trials_and_with_the_search(nodes, tmp_path):
    """Two workers are wanted, and no third machine. Trial 5 hangs, so that one worker has nothing left to do; then the
    search is killed, and started again.
    """
    driver = Driver(nodes, tmp_path, trials=6)
    (driver.orders / HOLD).touch()
    (driver.orders / "TOY_SLOW_5").touch()
    wait_for(nodes, 2)
    (driver.orders / HOLD).unlink()
    driver.wait_for(5)
    wait_for(nodes, 1)
    driver.kill()
    wait_for(nodes, 0)
    (driver.orders / "TOY_SLOW_5").unlink()
    Driver(nodes, tmp_path, trials=6).finish()
    wait_for(nodes, 0)
