"""What a run directory keeps of the commands that made it, in its report and its model cards; what a search refuses."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest

from nas.results.export import export
from nas.results.report import write_report
from nas.runs.run_directory import RunDirectoryError
from tests.support.made_up_run import made_up_run

SEARCH = ["/usr/bin/nasfpn", "search", "experiments.signs:smoke", "--run-dir", "runs/r"]
EXTEND = ["/usr/bin/nasfpn", "extend", "runs/r", "--trials", "+2"]
AGAIN = ["/usr/bin/nasfpn", "extend", "runs/r", "--trials", "+0"]


@pytest.fixture
def extended(tmp_path, monkeypatch):
    """A search that was extended, and whose extension was then cut off and gone on with."""
    monkeypatch.setattr(sys, "argv", SEARCH)
    run, config, trials = made_up_run(tmp_path / "run")
    more = replace(config, trials=config.trials + 2)
    for words, settings in ((SEARCH, config), (EXTEND, more), (AGAIN, more)):
        monkeypatch.setattr(sys, "argv", words)
        with run.claim(settings):
            pass
    return run, more, trials


def test_the_first_command_is_kept_with_those_that_changed_a_setting(extended, tmp_path):
    run, config, trials = extended
    assert run.read_record()["command"] == SEARCH
    assert run.read_record()["later_commands"] == [EXTEND]
    page = write_report(run, config, trials).read_text()
    assert "<pre>/usr/bin/nasfpn search experiments.signs:smoke --run-dir runs/r\n/usr/bin/nasfpn extend runs/r" in page
    export(run, trials, tmp_path / "neck", 1)
    card = (tmp_path / "neck" / "README.md").read_text()
    assert "`nasfpn search experiments.signs:smoke --run-dir runs/r`, then `nasfpn extend runs/r --trials +2`" in card


def test_a_record_of_an_older_version_has_no_later_commands(extended):
    run, *_ = extended
    record = json.loads(run.config_file.read_text())
    del record["later_commands"]
    run.config_file.write_text(json.dumps(record))
    assert run.read_record()["later_commands"] == []


def test_other_settings_are_refused_with_the_way_to_go_on(extended):
    run, config, _ = extended
    other = replace(config, seed=5, trials=99)
    with pytest.raises(RunDirectoryError) as refusal, run.claim(other):
        pass
    assert "other settings (seed: 0 -> 5)" in str(refusal.value)
    assert str(refusal.value).endswith(
        f"to go on as it was configured, with N candidates more: nasfpn extend {run.path} --trials +N"
    )
