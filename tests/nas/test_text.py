"""Text from data on the terminal, in logs and in the journal: no markup, no control characters, no end of it."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from nas.cli import main
from nas.commands.checked_data import refuse_bad_data
from nas.commands.logs import logged
from nas.commands.progress import Progress
from nas.commands.runs import make_report, show_status
from nas.commands.trainings import make_table
from nas.data.config import DataConfig
from nas.data.problems import Findings
from nas.errors import first_line
from nas.proxy.trial import TrialError
from nas.runs.journal import Journal
from nas.search.reward import RewardConfig
from nas.terminal import PlainFormatter, Terminal, console, heading, log_to_standard_error
from nas.text import MESSAGE_LIMIT, plain
from nas.workers.guarded import guarded
from tests.support.made_up_run import made_up_run

ESCAPES = "\x1b[31mred\x1b[0m \x1b]8;;http://x\x1b\\link\x1b]8;;\x07 \x9b2Jbell\x07\b \u202egnp.exe\u2066 \udc80"
CLEAN = "red link bell gnp.exe \ufffd"
FORBIDDEN = set("\x1b\x07\x08\x9b\r\u202e\u2066\udc80")
HUGE = "\x1b[31m" + "x" * 5_000_000 + "\x07"


def test_plain_text_has_no_escapes():
    assert plain(ESCAPES) == CLEAN
    assert plain("a\r\nb\tc\u2028d\x0b") == "a b c d"
    assert plain("a\r\nb\tc\u2028d\r", lines=True) == "a\nb\tc\nd\n"


@given(st.text(st.characters() | st.sampled_from("\x1b[]8;m\x07\x9b\\"), max_size=60), st.booleans())
def test_plain_text_is_printable_and_stays_as_it_is(text, lines):
    once = plain(text, lines=lines)
    assert not [char for char in once if char not in "\n\t" and unicodedata.category(char) in ("Cc", "Cs")]
    assert plain(once, lines=lines) == once


@pytest.mark.parametrize("part", ["\x1b]", "\x1b]a", "\x1b[0", "\x9b", "://a:", "://?sig", "x", "@://a:", "a ", "\n"])
def test_long_text_is_cut_in_the_middle_and_takes_no_time(part):
    text = f"began {part * (2_000_000 // len(part))} ended"
    start = time.monotonic()
    short = first_line(ValueError(text))
    again = PlainFormatter("%(message)s").format(logging.makeLogRecord({"msg": text}))
    assert time.monotonic() - start < 10
    assert len(short) <= MESSAGE_LIMIT
    assert len(again) <= 10_000
    assert plain(short, MESSAGE_LIMIT) == short


def test_what_is_cut_says_how_much():
    text = plain("x" * 4997 + "end", MESSAGE_LIMIT)
    head, count, tail = re.fullmatch(r"(x+) … \((\d+) more characters\) … (x+end)", text).groups()
    assert len(head) + int(count) + len(tail) == 5000
    assert len(text) == MESSAGE_LIMIT


@pytest.fixture
def terminal():
    return Terminal(file=io.StringIO(), width=400, force_terminal=True, color_system=None)


@pytest.mark.parametrize("name", ["[/x]", "[bold]x[/bold]", "[link=http://x]y", ":smile:", "[red", "a\\[b]"])
def test_names_are_no_markup(terminal, name):
    table = make_table(name, name, "AP")
    table.add_row(name, "1.0")
    terminal.print(f"report: runs/{name}/index.html", soft_wrap=True)
    terminal.print(heading(name, f": {name}"))
    terminal.print(table)
    lines = [line.rstrip() for line in terminal.file.getvalue().splitlines()]
    assert lines[0] == f"report: runs/{name}/index.html"
    assert lines[1] == f"{name}: {name}"
    assert lines[2].strip() == name
    assert sum(line.lstrip().startswith(name) for line in lines) == 4


def test_names_are_no_escape_sequences_on_a_terminal(terminal):
    table = Table(ESCAPES, title=ESCAPES)
    table.add_row(ESCAPES)
    for part in (ESCAPES, heading(ESCAPES, ESCAPES), table):
        terminal.print(part)
    assert not FORBIDDEN & set(terminal.file.getvalue())
    assert terminal.file.getvalue().count(CLEAN) == 6


def test_all_commands_have_one_console():
    modules = [module for name, module in sys.modules.items() if name.startswith("nas.commands.")]
    consoles = [vars(module)["console"] for module in modules if "console" in vars(module)]
    assert len(consoles) > 3
    assert all(each is console for each in consoles)


def test_commands_on_a_directory_whose_name_is_markup(tmp_path, monkeypatch, capsys):
    place = tmp_path / "[" / "x][" / "bold]"
    made_up_run(place, error=f"[/x] {ESCAPES}", name="[/y]", reward=RewardConfig(metric="AP/[/z]"))
    show_status(str(place), as_json=False)
    make_report(str(place))
    monkeypatch.setattr(sys, "argv", ["nasfpn", "export", str(place), "--output", str(tmp_path / "[" / "neck]")])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    output = capsys.readouterr().out
    assert f"report: {place}/report/index.html" in output
    assert "[/y]: interrupted" in output
    assert f"failed: [/x] {CLEAN}" in output
    assert "AP/[/z]" in output
    assert f"exported to {tmp_path}/[/neck]" in output.replace("\n", "")
    assert not FORBIDDEN & set(output)


def test_a_trial_that_floods_its_message_stays_small_everywhere(tmp_path, capsys):
    def train() -> None:
        raise TrialError(f"[/x] {HUGE} of s3://me:pa55@bucket")

    def crash() -> None:
        raise RuntimeError(HUGE)

    replies = [guarded(train, "trial 0", expected=(TrialError,)), guarded(crash, "trial 1")]
    assert all(0 < len(reply.error) <= MESSAGE_LIMIT for reply in replies)
    assert replies[0].error.startswith("[/x] x")
    assert replies[0].error.endswith("of s3://me:***@bucket")
    assert "test_text.py" in replies[1].error, "the place stays"
    run, config, _ = made_up_run(tmp_path / "run", error=HUGE)
    assert run.journal_file.stat().st_size < 200_000
    trial = next(trial for trial in Journal(run.journal_file).trials() if trial.state == "failed")
    show_status(str(run.path), as_json=False)
    with Progress(config) as progress:
        assert len(progress._result(trial)) < MESSAGE_LIMIT + 20
    assert len(capsys.readouterr().out) < 5000
    make_report(str(run.path))
    assert sum(len(path.read_bytes()) for path in (run.report / "index.html", run.report / "trials.jsonl")) < 1_500_000


def test_the_journal_of_an_older_version_is_read_with_bounded_messages(tmp_path, capsys):
    run, _, _ = made_up_run(tmp_path / "run", error="AN-ERROR")
    text = run.journal_file.read_text()
    assert text.count('"AN-ERROR"') == 1
    run.journal_file.write_text(text.replace('"AN-ERROR"', json.dumps(HUGE)))
    show_status(str(run.path), as_json=False)
    output = capsys.readouterr().out
    assert len(output) < 5000
    assert not FORBIDDEN & set(output)


def test_the_error_line_and_the_log_are_plain(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["nasfpn", "status", f"runs/{ESCAPES.replace('http://', '')}"])
    with pytest.raises(SystemExit):
        main()
    output = "".join(capsys.readouterr())
    assert f"runs/{CLEAN} holds no search" in output
    assert not FORBIDDEN & set(output)
    monkeypatch.setattr(logging.getLogger("nas"), "propagate", False)  # pytest-xdist cannot send half characters
    with logged(tmp_path / "search.log"):
        logging.getLogger("nas.workers.pool").warning("%s", f"{ESCAPES} s3://me:pa55@bucket {HUGE}")
    written = (tmp_path / "search.log").read_text()
    assert CLEAN in written
    assert not FORBIDDEN & set(written)
    assert "pa55" not in written
    assert len(written) <= 10_001


def test_warnings_on_standard_error_are_plain(monkeypatch):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    log_to_standard_error()
    logging.getLogger("nas.search").info("%s", ESCAPES)
    assert sys.stderr.getvalue() == f"{CLEAN}\n"


def test_problems_of_data_are_plain(capsys):
    findings = Findings("train")
    findings.warning("names", f"category {ESCAPES}[/x] and {HUGE} is strange")
    (problem,) = findings.problems()
    refuse_bad_data(DataConfig(root="data"), [problem], "nasfpn data check data")
    assert f"category {CLEAN}[/x]" in str(problem)
    assert str(problem).endswith("is strange")
    assert len(str(problem)) < MESSAGE_LIMIT + 50
    assert "[/x]" in capsys.readouterr().out
