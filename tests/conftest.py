"""What holds for all tests: one thread per process, and random numbers that are the same whatever ran before."""

from __future__ import annotations

import os
import sys

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
"""Two files are tested at a time, each with processes of its own; with a thread per core in each they would wait for
one another, and sums would depend on the number of cores."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Seeds PyTorch before the fixtures of a test; a test that needs no torch does not import it."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture
def in_process(monkeypatch, capsys):
    """The command in this process, which has paid for the imports already: exit status, output, errors."""
    from nasfpn.command import main

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["nasfpn", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        shown = capsys.readouterr()
        return int(stop.value.code or 0), shown.out, shown.err

    return run
