"""Signals and requests to end: which error and which exit status they make, in processes without Ray."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

import pytest

from nas import interruption
from nas.cli.ending import ending
from nas.errors import UserError

WAITS = "print('ready', flush=True); time.sleep(60)"

DEFERRED = """
with interruption.deferred():
    print('ready', flush=True)
    while not interruption.came():
        time.sleep(.01)
    print('recorded', flush=True)
print('never')
"""

SECOND = """
with interruption.deferred():
    print('ready', flush=True)
    while True:
        if interruption.came() and not told:
            told.append(print('noted', flush=True))
        time.sleep(.01)
"""

COMMAND = """
import typer
from nas.cli.ending import Commands
app = typer.Typer(cls=Commands)
group = typer.Typer()
@group.command()
def wait():
    {body}
@app.callback()
def options(): pass
app.add_typer(group, name='group')
sys.argv = ['nasfpn', 'group', 'wait']
app()
"""


def started(body: str, ignored: Sequence[int] = ()) -> subprocess.Popen[str]:
    """A process that is in `body` within `ending`, and where signals are as in a terminal, but for those ignored."""

    def dispositions() -> None:
        for number in interruption.SIGNALS:
            signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)

    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    code = "import sys, time\nfrom nas import interruption\nfrom nas.cli.ending import ending\n"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{code}told = []\nwith ending():\n{lines}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=dispositions,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(("name", "known_as"), [("SIGINT", "Ctrl-C"), ("SIGTERM", "SIGTERM"), ("SIGHUP", "SIGHUP")])
def test_a_signal_is_one_line_and_its_exit_status(name, known_as):
    number = getattr(signal, name)
    process = started(WAITS)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert errors == f"stopped by {known_as}; finished work is kept: run the same command again to go on\n"


def test_a_command_of_a_group_ends_as_well():
    process = started(COMMAND.format(body=WAITS))
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 143
    assert errors.startswith("stopped by SIGTERM;")
    assert errors.count("\n") == 1


def test_what_nohup_and_background_jobs_ignore_stays_ignored():
    process = started(WAITS, ignored=(signal.SIGINT, signal.SIGHUP))
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143


def test_a_deferred_signal_lets_the_work_be_recorded():
    process = started(DEFERRED)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, output) == (143, "recorded\n")
    assert "SIGTERM" in errors


def test_a_second_signal_ends_at_once():
    process = started(SECOND)
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "noted\n"
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    assert process.communicate(timeout=1) == ("", "")
    assert process.returncode == 130


def test_a_thread_ends_the_main_thread_where_sigint_is_ignored():
    request = "threading.Timer(.1, interruption.request, [UserError('taken over')]).start()"
    process = started(
        f"import threading; from nas.errors import UserError; {request}; {WAITS}", ignored=(signal.SIGINT,)
    )
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (2, "error: taken over\n")


def test_without_handlers_a_request_is_seen_by_those_who_check():
    reason = UserError("taken over")
    thread = threading.Thread(target=interruption.request, args=[reason])
    thread.start()
    thread.join()
    try:
        with pytest.raises(interruption.Interrupted):
            interruption.check()
        assert interruption.ended("stopped") is reason
    finally:
        interruption.withdraw(reason)
    interruption.check()


def test_an_error_on_its_way_is_not_replaced_by_a_signal():
    def clean_up() -> None:
        try:
            raise UserError("the reason")
        finally:
            with interruption.deferred():
                os.kill(os.getpid(), signal.SIGTERM)

    before = interruption.handlers()
    with pytest.raises(UserError, match="the reason"), interruption.listening():
        clean_up()
    assert interruption.handlers() == before


def test_user_errors_keep_their_status(capsys):
    with pytest.raises(SystemExit) as stop, ending():
        raise UserError("wrong")
    assert (stop.value.code, capsys.readouterr().err) == (2, "error: wrong\n")
