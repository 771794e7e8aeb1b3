"""Damaged run directories: every command that reads one goes on, or says in one line what is wrong with which file."""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from nas.commands.logs import logged
from nas.commands.runs import make_report, show_status
from nas.engine.scheduler import TrialScheduler
from nas.errors import UserError
from nas.results.report import write_report
from nas.runs.journal import open_journal
from nas.runs.journal_lines import JournalError
from nas.runs.run_directory import RunDirectory, RunDirectoryError
from tests.support.damage import ODD_VALUES, damaged, torn
from tests.support.made_up_run import made_up_run

Lines = list[dict[str, Any]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    run, _, _ = made_up_run(tmp_path_factory.mktemp("whole") / "run")
    return run.path


@pytest.fixture
def run(whole, tmp_path) -> RunDirectory:
    shutil.copytree(whole, tmp_path / "run")
    return RunDirectory(tmp_path / "run")


def journal_of(run: RunDirectory) -> Lines:
    """Its lines, as a version wrote them that did not number them."""
    lines = map(json.loads, run.journal_file.read_bytes().splitlines())
    return [{name: value for name, value in line.items() if name != "line"} for line in lines]


def write_journal(run: RunDirectory, lines: list[Any]) -> None:
    run.journal_file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def foreign_trial(lines: Lines) -> None:
    """As `study.ask()` of another program makes it."""
    lines.insert(4, {**lines[1], "user_attrs": {}})


def newer_operation(lines: Lines) -> None:
    lines.insert(3, {"op_code": 77, "worker_id": "w"})


def second_study(lines: Lines) -> None:
    lines.insert(3, {**lines[0], "study_name": "other"})


def another_study(lines: Lines) -> None:
    lines[0]["study_name"] = "other"


def deleted_study(lines: Lines) -> None:
    lines.append({"op_code": 1, "worker_id": "w", "study_id": 0})


def lost_study(lines: Lines) -> None:
    del lines[0]


def lost_trial(lines: Lines) -> None:
    """The first of the search: those after it would get the results of others."""
    del lines[next(k for k, line in enumerate(lines) if line.get("user_attrs", {}).get("origin") == "search")]


def lost_outcome(lines: Lines) -> None:
    del lines[next(k for k, line in enumerate(lines) if line["op_code"] == 8)]


def lost_end(lines: Lines) -> None:
    """Of a trial in the middle."""
    del lines[next(k for k, line in enumerate(lines) if line["op_code"] == 6)]


def swapped(lines: Lines) -> None:
    lines[1], lines[2] = lines[2], lines[1]


def swapped_outcomes(lines: Lines) -> None:
    first, second = [line for line in lines if line["op_code"] == 8][:2]
    first["user_attr"], second["user_attr"] = second["user_attr"], first["user_attr"]
    second["user_attr"]["outcome"]["order"] = 7


def two_writers(lines: Lines) -> None:
    lines.append(dict(next(line for line in lines if line["op_code"] == 6)))


def waiting_trial(lines: Lines) -> None:
    lines[-1]["state"] = 4


def no_keys(lines: Lines) -> None:
    lines[2] = {"op_code": 8, "worker_id": "w", "trial_id": 0}


def text_for_a_number(lines: Lines) -> None:
    lines[2]["trial_id"] = "0"


def outcome(lines: Lines) -> dict[str, Any]:
    return next(line for line in lines if line["op_code"] == 8)["user_attr"]["outcome"]


def nan_reward(lines: Lines) -> None:
    lines[3]["values"] = [float("nan")]


def text_reward(lines: Lines) -> None:
    lines[3]["values"] = "high"


def no_reward(lines: Lines) -> None:
    lines[3]["values"] = None


def text_metric(lines: Lines) -> None:
    outcome(lines)["metrics"]["macs"] = "many"


def copied_from_nowhere(lines: Lines) -> None:
    outcome(lines)["copied_from"] = 500


def bad_genotype(lines: Lines) -> None:
    lines[1]["user_attrs"]["genotype"]["cells"] = [None]


def bad_distribution(lines: Lines) -> None:
    line = next(line for line in lines if line.get("params"))
    line["distributions"] = dict.fromkeys(line["distributions"], "nothing")


def half_a_character(lines: Lines) -> None:
    outcome(lines)["error"] = "\ud83d"


def an_array(lines: list[Any]) -> None:
    lines[2] = [1, 2]


def null(lines: list[Any]) -> None:
    lines[2] = None


CHANGES: dict[Callable[[Any], None], str] = {
    foreign_trial: "trial 1 is none of this search: it has no origin",
    newer_operation: "line 4: operation 77 is unknown to Optuna .* a newer Optuna wrote it",
    second_study: "line 4: it begins a second study",
    another_study: "no study 'search'",
    deleted_study: "line 24: it deletes the study",
    lost_study: "line 1: the line that begins the study is not before it",
    lost_trial: r"line \d+: trial \d was not begun before it|proposal 1 of search, not 0",
    lost_outcome: "trial 0 is none of this search: it has no outcome",
    lost_end: "trials are finished, and one of them as number",
    swapped: "line 2: trial 0 was not begun before it",
    swapped_outcomes: "trials are finished, and one of them as number",
    two_writers: "line 24: trial 0 was finished before it",
    waiting_trial: "trial 7 is none of this search: its state is waiting",
    no_keys: r"line 3: Optuna cannot read it \(KeyError: 'user_attr'\)",
    text_for_a_number: "line 3: its trial_id is '0', not a whole number",
    nan_reward: r"trial 0 .* its reward is \[nan\]",
    text_reward: r"trial 0 .* its reward is \['h', ",
    no_reward: "trial 0 .* its reward is None",
    text_metric: "trial 0 .* its metrics have macs = 'many'",
    copied_from_nowhere: "trial 0 has the result of trial 500, which has none",
    bad_genotype: "trial 0 is none of this search",
    bad_distribution: r"line \d+: Optuna cannot read it",
    half_a_character: "line 3: it has half a character",
    an_array: r"line 3: it is '\[1, 2\]', not a JSON object",
    null: "line 3: it is 'null', not a JSON object",
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("writable", [False, True])
def test_a_damaged_journal_is_one_line_that_says_where(run, change, writable):
    lines = journal_of(run)
    change(lines)
    write_journal(run, lines)
    before = run.journal_file.read_bytes()
    with pytest.raises(JournalError, match=CHANGES[change]) as error:
        open_journal(run, writable=writable)
    assert str(run.journal_file) in str(error.value)
    assert "\n" not in str(error.value)
    assert run.journal_file.read_bytes() == before


def test_what_this_project_writes_says_which_line_is_lost_or_moved(run):
    """Two known necks, whose lines say nothing else of their places."""
    lines = run.journal_file.read_bytes().splitlines(keepends=True)
    run.journal_file.write_bytes(b"".join([lines[0], lines[4], lines[2], lines[3], lines[1], *lines[5:]]))
    with pytest.raises(
        JournalError, match="line 2: it was written as line 5, so that lines before it were lost or moved"
    ):
        open_journal(run)


RAW: dict[str, Callable[[bytes], bytes]] = {
    r"line 2: it is not JSON": lambda raw: raw.replace(b'{"op_code":4', b'{"op_code":4,,', 1),
    r"line 1: it is not UTF-8": lambda raw: raw.replace(b"search", b"se\xffrch", 1),
    r"line 1: it is not JSON": lambda raw: b"\0" * 50 + raw,
    r"line 2: it is not JSON that can be read": lambda raw: raw.replace(b"\n", b"\n" + b"[" * 100_000 + b"\n", 1),
    r"line 1: it is not JSON .*BOM|line 1: it is not JSON": lambda raw: b"\xef\xbb\xbf" + raw,
}


@pytest.mark.parametrize("message", RAW)
def test_bytes_that_are_no_json_are_one_line(run, message):
    run.journal_file.write_bytes(RAW[message](run.journal_file.read_bytes()))
    with pytest.raises(JournalError, match=message):
        open_journal(run)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def directory(path: Path) -> None:
    path.mkdir()


def circle(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("put", [pipe, device, directory, circle])
def test_what_is_no_file_is_one_line(run, put, in_process):
    run.journal_file.unlink()
    put(run.journal_file)
    for command in ("status", "report", "describe"):
        status, _, errors = in_process(command, run.path)
        assert (status, len(errors.splitlines())) == (2, 1)
        assert "journal.log" in errors


COMMANDS = {
    "status": ("status",),
    "report": ("report",),
    "describe": ("describe",),
    "export": ("export", "--output", "exported"),
    "rerun": ("rerun", "500"),
    "retrain": ("retrain", "--top", "1"),
    "extend": ("extend", "--trials", "+1"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_all_commands_refuse_a_damaged_journal_alike(run, command, in_process, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nas.data.check.check_data", lambda *_, **__: [])
    lines = journal_of(run)
    foreign_trial(lines)
    write_journal(run, lines)
    name, *options = COMMANDS[command]
    status, _, errors = in_process(name, run.path, *options)
    assert (status, len(errors.splitlines())) == (2, 1), errors
    assert "journal.log: trial 1 is none of this search" in errors


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    """Within, this process may read a directory and write nothing in it, even if it is root's."""
    for inside in (path, *path.rglob("*")):
        inside.chmod(0o555 if inside.is_dir() else 0o444)
    if os.getuid() == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
        path.chmod(0o755)


NOBODY = 65534


@pytest.fixture
def shared(whole) -> Iterator[RunDirectory]:
    """A run directory that other users can reach."""
    with TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        shutil.copytree(whole, Path(place) / "run")
        yield RunDirectory(Path(place) / "run")


def test_a_read_only_directory_has_a_status_and_no_report(shared, capsys):
    shared.lock_file.unlink()
    write_report(shared, shared.read_config(), open_journal(shared).trials())  # imports what it needs
    with read_only(shared.path):
        show_status(str(shared.path), False)
        with pytest.raises(RunDirectoryError, match=r"the report in .*/report cannot be written: \[Errno 13\]"):
            make_report(str(shared.path))
    assert "interrupted, 6 of" in capsys.readouterr().out
    assert not shared.lock_file.exists()


def test_a_live_search_in_a_read_only_directory_is_seen(shared):
    with shared.claim(shared.read_config()), read_only(shared.path):
        assert RunDirectory(shared.path).is_live()
    assert not shared.is_live()


def test_a_full_disk_at_resume_is_one_line(run, monkeypatch):
    config = run.read_config()
    before = run.config_file.read_bytes()
    (run.path / "config.partial").symlink_to("/dev/full")
    with (
        pytest.raises(RunDirectoryError, match=r"No space left on device.*the same command goes on"),
        run.claim(config),
    ):
        pass
    assert run.config_file.read_bytes() == before
    assert not run.is_live()


def test_a_full_disk_under_the_log_is_one_warning(tmp_path, caplog):

    (tmp_path / "search.log").symlink_to("/dev/full")
    with logged(tmp_path / "search.log"):
        for number in range(3):
            logging.getLogger("nas.search").warning("warning %d", number)
    warnings = [record.getMessage() for record in caplog.records if "cannot be written" in record.getMessage()]
    assert len(warnings) == 1
    assert "No space left on device" in warnings[0]


def damage_line(lines: list[bytes], rng: random.Random) -> list[bytes]:
    """One to three lines lost, moved, doubled, torn, or with other values in them."""
    lines = list(lines)
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(lines)) if lines else 0
        what = rng.randrange(6)
        if not lines:
            break
        if what == 0:
            del lines[place]
        elif what == 1:
            other = rng.randrange(len(lines))
            lines[place], lines[other] = lines[other], lines[place]
        elif what == 2:
            lines.insert(rng.randrange(len(lines)), lines[place])
        elif what == 3:
            lines[place] = torn(lines[place] or b"x", rng)
        elif what == 4:
            lines[place] = json.dumps(rng.choice(ODD_VALUES)).encode()
        else:
            try:
                lines[place] = json.dumps(damaged(json.loads(lines[place]), rng)).encode()
            except ValueError:
                continue
    return lines


def damage_journal(run: RunDirectory, rng: random.Random) -> None:
    """Lines, or the file as a whole."""
    raw = run.journal_file.read_bytes()
    what = rng.randrange(10)
    if what == 0:
        raw = raw[: rng.randrange(len(raw))]
    elif what == 1:
        raw = raw.decode().encode(rng.choice(("utf-16", "utf-16-le", "utf-32", "utf-8-sig")))
    elif what == 2:
        raw = raw.replace(b"\n", rng.choice((b"\r", b"\r\n", b"\n\n", b"")))
    elif what == 3:
        run.journal_file.unlink()
        rng.choice((pipe, device, directory, circle, lambda path: None))(run.journal_file)
        return
    elif what == 4 and rng.random() < 0.5:
        target = rng.choice([run.path / "search.lock", run.trials])
        shutil.rmtree(target) if target.is_dir() else target.unlink()
        target.symlink_to(rng.choice(["/dev/null", "nowhere", str(target)]))
        return
    else:
        numbered = rng.random() < 0.3
        lines = raw.splitlines() if numbered else [json.dumps(line).encode() for line in journal_of(run)]
        raw = b"".join(line + b"\n" for line in damage_line(lines, rng))
    run.journal_file.write_bytes(raw)


READS: list[tuple[str, ...]] = [("status",), ("status", "--json"), ("report",), ("describe",), ("rerun", "500")]


def goes_on(run: RunDirectory) -> None:
    """As a search begins that goes on, up to the first trial."""
    config = run.read_config()
    with run.claim(config):
        scheduler = TrialScheduler(config, open_journal(run, writable=True), lambda trial: None)
        scheduler.prepare()
        scheduler.next()
        scheduler.journal.require_intact()


def ends_well(run: RunDirectory, in_process: Any, output: Path) -> bool:
    """Whether the search would go on; fails for anything but success or one line."""
    for name, *options in [*READS, ("export", "--output", output)]:
        shutil.rmtree(output, ignore_errors=True)
        status, _, errors = in_process(name, run.path, *options)
        assert status in (0, 2), name
        assert status == 0 or errors.startswith("error: "), name
        assert len([line for line in errors.splitlines() if line.startswith("error: ")]) == (status == 2)
    try:
        goes_on(run)
        reason = ""
    except UserError as error:
        reason = str(error)
    assert "\n" not in reason
    return not reason


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_damage_over_a_hundred_run_directories(whole, tmp_path, in_process):
    went_on = 0
    for seed in range(100):
        run = RunDirectory(tmp_path / str(seed))
        shutil.copytree(whole, run.path)
        damage_journal(run, random.Random(seed))
        went_on += ends_well(run, in_process, tmp_path / "exported")
        shutil.rmtree(run.path)
    assert 0 < went_on < 60
