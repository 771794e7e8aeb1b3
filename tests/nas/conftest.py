from __future__ import annotations

import sys

import pytest

from nas.cli import main


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
