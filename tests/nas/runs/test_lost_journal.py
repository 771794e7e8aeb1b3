"""A journal that goes away or changes, while a search runs or between two runs: nothing is lost, nothing is deleted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from nas.engine.run import drive
from nas.engine.trial import Scored
from nas.runs.journal import Journal, open_journal
from nas.runs.journal_lines import JournalError
from nas.runs.kept_weights import KeptWeights
from nas.runs.run_directory import RunDirectory, RunDirectoryError
from nas.search.records import Candidate
from search_space import known_genotype
from tests.nas.runs.test_storage import fill, plan_of
from tests.nas.workers.test_pool import Fake
from tests.support.made_up_run import made_up_run
from tests.support.toy_search import toy_config


def delete(path: Path) -> None:
    path.unlink()


def replace(path: Path) -> None:
    copy = path.with_name("copy")
    shutil.copy(path, copy)
    copy.replace(path)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 100)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def write_to(path: Path) -> None:
    """As a second search would."""
    Journal(path, writable=True).finish(4, "complete", 7.0, {"AP": 7.0})


def delete_directory(path: Path) -> None:
    shutil.rmtree(path.parent)


def rename_directory(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))


def remake_directory(path: Path) -> None:
    shutil.copytree(path.parent, path.parent.with_name("elsewhere"))
    shutil.rmtree(path.parent)
    path.parent.with_name("elsewhere").rename(path.parent)


LOSSES = {
    delete: "was deleted or renamed",
    replace: "was replaced by another file",
    cut: r"was cut from \d+ to \d+ bytes",
    empty: r"was cut from \d+ to 0 bytes",
    write_to: r"was written to by another program \(\d+ bytes\)",
    delete_directory: "its directory was deleted or renamed",
    rename_directory: "its directory was deleted or renamed",
    remake_directory: "its directory was deleted or renamed",
}


@pytest.fixture
def path(tmp_path, monkeypatch) -> Path:
    """Of a journal, in a directory that can go away; copies of last resort go to another one."""
    (tmp_path / "here").mkdir()
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "run" / "journal.log"


def finish_last(journal: Journal) -> None:
    with journal.together():
        journal.finish(4, "complete", 1.5, {"AP": 1.5})


@pytest.mark.parametrize("lose", LOSSES)
def test_a_journal_lost_in_mid_search_is_saved_elsewhere_and_the_search_goes_on_with_it(path, lose):
    journal = fill(path)
    lose(path)
    remains = path.read_bytes() if path.exists() else None
    with pytest.raises(JournalError, match=LOSSES[lose]) as stop:
        finish_last(journal)
    assert "\n" not in str(stop.value)
    assert (path.read_bytes() if path.exists() else None) == remains, "nothing is written to what is not ours"
    (copy,) = [*path.parent.glob("journal.log.rescued-1"), *Path().glob("run-journal.log.rescued-1")]
    assert str(copy.resolve()) in str(stop.value)
    with pytest.raises(JournalError, match=LOSSES[lose]):
        journal.finish(4, "complete", 1.5, {"AP": 1.5})
    assert not list(path.parent.glob("*rescued-2")), "saved once"

    path.parent.mkdir(exist_ok=True)
    shutil.move(copy, path)
    following = Journal(path, writable=True)
    assert [trial.reward for trial in following.trials()] == [4.5, 2.5, None, None, 1.5]


def test_what_can_be_saved_nowhere_is_one_line(path, monkeypatch, tmp_path):
    journal = fill(path)
    delete_directory(path)
    monkeypatch.setattr("nas.runs.journal_file.gettempdir", lambda: str(tmp_path / "missing"))
    (tmp_path / "here").rmdir()
    with pytest.raises(JournalError, match=r"could not be saved elsewhere either: .*No such file"):
        journal.finish(4, "complete", 1.5, {"AP": 1.5})


def test_notes_made_in_the_dashboard_do_not_stop_a_search(path):
    """Optuna's dashboard writes them to the same file while the search runs."""
    journal = fill(path)
    dashboard = JournalStorage(JournalFileBackend(str(path)))
    dashboard.set_study_system_attr(0, "dashboard:note_0", "a good one")
    journal.finish(4, "complete", 1.5, {"AP": 1.5})
    dashboard.set_study_user_attr(0, "seen", True)
    again = Journal(path, writable=True)
    assert again.trials() == journal.trials() == Journal(path).trials()
    assert again.storage.get_study_system_attrs(0) == {"dashboard:note_0": "a good one"}


def test_a_journal_that_is_gone_at_the_end_is_no_success(path):
    journal = fill(path)
    journal.require_intact()
    path.unlink()
    with pytest.raises(JournalError, match=r"was deleted .*rescued-1"):
        journal.require_intact()


def unfinished(path: Path, ending: bytes) -> bytes:
    """A journal of five trials with something after its last line; what it is then."""
    fill(path)
    with path.open("ab") as file:
        file.write(ending)
    return path.read_bytes()


def test_what_a_mend_cuts_off_is_kept(path, caplog):
    for number in (1, 2):
        whole = unfinished(path, b'{"op_code":6,"worker_id":"1') if number == 1 else path.read_bytes() + b'{"op_'
        path.write_bytes(whole)
        Journal(path, writable=True)
        copy = path.with_name(f"journal.log.cut-{number}")
        assert path.read_bytes() + copy.read_bytes() == whole
        assert f"it was cut off and is in {copy}" in caplog.text


def test_a_last_line_that_lacks_nothing_but_its_end_is_kept(path):
    before = fill(path).trials()
    path.write_bytes(path.read_bytes()[:-1])
    following = Journal(path, writable=True)
    assert following.trials() == before
    following.finish(4, "complete", 1.0, {"AP": 1.0})
    assert Journal(path).trials() == following.trials()
    assert not list(path.parent.glob("*cut*"))


def carriage_returns(content: bytes) -> bytes:
    return content.replace(b"\n", b"\r")


def utf_16(content: bytes) -> bytes:
    return content.decode().encode("utf-16")


def half_utf_16(content: bytes) -> bytes:
    """One of an odd length, whose last byte follows on a line feed."""
    return content.decode().encode("utf-16-le")


def text_at_the_end(content: bytes) -> bytes:
    return content + b"the end"


@pytest.mark.parametrize("convert", [carriage_returns, utf_16, half_utf_16, text_at_the_end])
@pytest.mark.parametrize("writable", [True, False])
def test_what_is_no_torn_line_is_refused_and_not_cut(path, convert, writable):
    fill(path)
    path.write_bytes(before := convert(path.read_bytes()))
    if convert is text_at_the_end and not writable:
        assert len(Journal(path).trials()) == 5, "a line that is being written looks the same"
        return
    with pytest.raises(JournalError, match=r"journal\.log") as error:
        Journal(path, writable=writable)
    assert "\n" not in str(error.value)
    assert path.read_bytes() == before


def test_windows_line_ends_are_as_good(path):
    trials = fill(path).trials()
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    following = Journal(path, writable=True)
    assert following.trials() == trials
    following.finish(4, "complete", 1.0, {"AP": 1.0})
    assert Journal(path).trials() == following.trials()


def missing(run: RunDirectory) -> None:
    run.journal_file.unlink()


def emptied(run: RunDirectory) -> None:
    run.journal_file.write_bytes(b"")


def torn(run: RunDirectory) -> None:
    run.journal_file.write_bytes(run.journal_file.read_bytes()[:40])


def headless(run: RunDirectory) -> None:
    run.journal_file.write_bytes(b"".join(run.journal_file.read_bytes().splitlines(keepends=True)[1:]))


def in_a_directory(run: RunDirectory) -> None:
    run.journal_file.unlink()
    run.journal_file.mkdir()


def everything_in(path: Path) -> dict[str, bytes]:
    ignored = ("search.lock", "config.json")
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in path.rglob("*")
        if file.is_file() and file.name not in ignored
    }


@pytest.mark.parametrize("damage", [missing, emptied, torn, headless, in_a_directory])
def test_weights_without_a_journal_are_not_taken_for_a_new_search(tmp_path, damage):
    run, config, _ = made_up_run(tmp_path / "run")
    record = run.config_file.read_text()
    damage(run)
    before = everything_in(run.path)
    with pytest.raises((RunDirectoryError, JournalError), match=r"journal\.log") as error, run.claim(config):
        open_journal(run, writable=True)
    assert "\n" not in str(error.value)
    assert everything_in(run.path) == before
    if damage is missing:
        assert run.config_file.read_text() == record
        with pytest.raises(RunDirectoryError, match=r"holds results of a search \(trials/\).*journal\.log is missing"):
            RunDirectory(run.path).require()


def test_copies_of_a_lost_journal_are_named(tmp_path):
    run, config, _ = made_up_run(tmp_path / "run")
    run.journal_file.rename(run.path / "journal.log.rescued-1")
    shutil.rmtree(run.trials)
    with pytest.raises(RunDirectoryError, match=r"copy \(there are journal\.log\.rescued-1\)"), run.claim(config):
        pass


def test_a_search_killed_before_its_first_record_goes_on(tmp_path):
    config = toy_config(tmp_path)
    run = RunDirectory(tmp_path / "run")
    for content in (None, b"", b'{"op_code":0,"worker'):
        with run.claim(config):
            pass
        if content is not None:
            run.journal_file.write_bytes(content)
        with run.claim(config):
            assert open_journal(run, writable=True).trials() == []
        run.journal_file.unlink()


def test_a_study_that_is_gone_from_the_database_is_not_begun_again(tmp_path):
    config = toy_config(tmp_path, storage=f"sqlite:///{tmp_path}/journal.db")
    run = RunDirectory(tmp_path / "run")
    with run.claim(config):
        plan_of(config, open_journal(run, writable=True)).next()
        run.trial(0).mkdir(parents=True)
    (tmp_path / "journal.db").unlink()
    message = r"journal\.db has no study .toy-.*lost \(there are trials/\)"
    with pytest.raises(JournalError, match=message), run.claim(config):
        open_journal(run, writable=True)


def test_two_copies_of_a_run_directory_cannot_both_write_to_a_database(tmp_path):
    config = toy_config(tmp_path, storage=f"sqlite:///{tmp_path}/journal.db")
    run, copy = RunDirectory(tmp_path / "run"), RunDirectory(tmp_path / "copy")
    with run.claim(config):
        first = plan_of(config, open_journal(run, writable=True))
        number, _ = first.next()
        shutil.copytree(run.path, copy.path)
        with copy.claim(config):
            second = plan_of(config, open_journal(copy, writable=True))
            assert second.next()[0] == number
            with pytest.raises(JournalError, match="another search has taken over the study"):
                first.complete(number, {"AP": 1.0})
            second.complete(number, {"AP": 2.0})
    assert [trial.reward for trial in open_journal(run).trials()] == [2.0]


def test_a_deleted_lock_lets_no_second_search_in(tmp_path):
    config = toy_config(tmp_path)
    run = RunDirectory(tmp_path / "run")
    code = (
        "import sys, pickle; from nas.runs.run_directory import RunDirectory; run = RunDirectory(sys.argv[1])\n"
        "print(run.is_live())\nwith run.claim(run.read_config()): print('in')"
    )
    with run.claim(config):
        open_journal(run, writable=True)
        (run.path / "search.lock").unlink()
        assert RunDirectory(run.path).is_live()
        done = subprocess.run([sys.executable, "-c", code, str(run.path)], capture_output=True, text=True, check=False)
        assert done.stdout == "True\n"
        assert "a search is running in" in done.stderr
    assert not RunDirectory(run.path).is_live()
    with run.claim(config):
        pass


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_weights_of_trials_that_are_not_in_the_journal_are_kept(tmp_path, caplog):
    run, _, trials = made_up_run(tmp_path / "run")
    weights = run.trial(6) / "neck.safetensors"
    content = weights.read_bytes()
    (run.trials / "notes").mkdir()
    kept = KeptWeights(run, 40, trials[:4])
    kept.add(6, {"neck.safetensors": b"new"}, reward=1.0, keep=False)
    kept.clear()
    assert weights.read_bytes() == b"new"
    assert (run.path / "trials.unknown-1" / "0006" / "neck.safetensors").read_bytes() == content
    assert names(run.trials) == ["0000", "0001", "0002", "0003", "0006", "notes"]
    assert "trials that are not in the journal" in caplog.text
    KeptWeights(run, 40, [])
    assert names(run.path / "trials.unknown-2") == ["0000", "0001", "0002", "0003", "0006"]


def test_the_best_new_neck_keeps_its_weights_beside_a_better_candidate_that_is_a_known_neck(tmp_path):
    """Known necks may have a width of their own, so that a candidate which is one is trained and shares nothing."""
    run = RunDirectory(tmp_path)
    journal = Journal(tmp_path / "journal.log", writable=True)
    necks = [("known:fpn", known_genotype("fpn"), 5.0), ("search", known_genotype("bifpn"), 2.0)]
    necks.append(("search", known_genotype("fpn"), 4.0))
    kept = KeptWeights(run, 1, [])
    for proposal, (origin, genotype, reward) in enumerate(necks, start=-1):
        candidate = Candidate(origin=origin, genotype=genotype, proposal=proposal if proposal >= 0 else None)
        number = journal.add(candidate, space_choices={})
        kept.add(number, {"w": b"x"}, reward=reward, keep=proposal < 0, is_published=proposal == 1)
        journal.finish(number, "complete", reward, {"AP": reward})
        kept.clear()
    assert sorted(path.name for path in run.trials.iterdir()) == ["0000", "0001"]
    KeptWeights(run, 1, journal.trials())
    assert sorted(path.name for path in run.trials.iterdir()) == ["0000", "0001"]


def test_weights_make_no_run_directory_that_is_gone(tmp_path):
    run, _, trials = made_up_run(tmp_path / "run")
    kept = KeptWeights(run, 40, trials)
    run.path.rename(tmp_path / "elsewhere")
    with pytest.raises(RunDirectoryError, match="No such file"):
        kept.add(6, {"neck.safetensors": b"new"}, reward=1.0, keep=False)
    assert not run.path.exists()


@pytest.mark.parametrize("lose", [delete, rename_directory])
def test_a_search_whose_journal_goes_away_stops_with_that_and_keeps_its_weights(path, lose):
    config, run = toy_config(path.parent.parent, trials=10), RunDirectory(path.parent)
    scheduler = plan_of(config, Journal(path, writable=True))
    told = []

    def tell() -> None:
        told.append(len(scheduler.journal.trials()))
        if len(told) == 3:
            lose(path)

    pool = Fake(lambda request: Scored(metrics={"AP": 1.0}, neck={"w": b"x"}), together=2)
    with pytest.raises(JournalError, match="the search was stopped; all that it recorded is in"):
        drive(scheduler, pool, run, tell)
    assert told[-1] == told[2], "nothing is told that was not recorded"
    where = path.parent.with_name("elsewhere") if lose is rename_directory else run.path
    assert {"0000", "0001", "0002"} <= set(names(where / "trials"))
    assert lose is delete or not run.path.exists(), "it is not made anew"
