from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest
import ray

from nas.cli import main
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


@pytest.fixture
def in_process(monkeypatch, capsys):
    """The command in this process, which has paid for the imports already: exit status, output, errors."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["nasfpn", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        shown = capsys.readouterr()
        return int(stop.value.code or 0), shown.out, shown.err

    return run
