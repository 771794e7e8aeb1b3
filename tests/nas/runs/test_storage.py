"""Where journals are kept: files that are written in one go, databases that go away."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from nas.engine.scheduler import TrialScheduler
from nas.runs import storage
from nas.runs.journal import Journal, open_journal
from nas.runs.run_directory import RunDirectory
from nas.runs.storage import JournalError
from nas.search.config import SearchConfig
from nas.search.records import Candidate
from search_space import known
from tests.support.postgres import Postgres, binaries
from tests.support.toy_search import toy_config


def fill(place: Path | str, trials: int = 5) -> Journal:
    journal = Journal(place, writable=True)
    for number in range(trials):
        added = journal.add(
            Candidate(origin="search", genotype=known.fpn(), proposal=number, choices={"x": number}),
            space_choices={"x": tuple(range(100))},
        )
        assert added == number
    journal.finish(0, "complete", 4.5, {"AP": 4.5})
    journal.finish(1, "stopped", 2.5, {"AP": 2.5, "reward@10": 2.5})
    journal.finish(2, "failed", None, {}, error="nan")
    journal.finish(3, "failed", None, {"params": 7}, error="too large", rejected=("max_params",))
    return journal


def plan_of(config: SearchConfig, journal: Journal) -> TrialScheduler:
    return TrialScheduler(config, journal, lambda trial: None)


@pytest.fixture(params=["file", "sqlite"])
def place(request, tmp_path) -> Path | str:
    return tmp_path / "journal.log" if request.param == "file" else f"sqlite:///{tmp_path}/journal.db"


def test_a_writer_a_reader_and_the_next_writer_see_the_same(place):
    written = fill(place).trials()
    assert [trial.state for trial in written] == ["complete", "stopped", "failed", "failed", "running"]
    reader = Journal(place)
    assert reader.trials() == written
    following = Journal(place, writable=True)
    assert following.trials() == written
    assert following.num_finished == 4
    finished = following.finish(4, "complete", 1.0, {"AP": 1.0})
    assert finished == following.trials()[4] == reader.trials()[4]
    assert finished.order == 4


def test_what_is_recorded_together_is_in_the_file_at_the_end(tmp_path):
    path = tmp_path / "journal.log"
    journal = fill(path)
    before = path.read_bytes()
    with journal.together():
        journal.finish(4, "complete", 1.0, {"AP": 1.0})
        assert journal.trials()[4].state == "complete"
        assert path.read_bytes() == before
    assert path.read_bytes().startswith(before)
    assert Journal(path).trials() == journal.trials()


def test_what_was_recorded_before_an_error_is_kept(tmp_path):
    path = tmp_path / "journal.log"
    journal = fill(path)
    with suppress(ZeroDivisionError), journal.together():
        journal.finish(4, "complete", 1.0, {"AP": 1.0})
        raise ZeroDivisionError
    assert Journal(path).trials()[4].state == "complete"


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """The operating system writes what fits, and then an error, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_is_one_line_and_what_was_there_stays(tmp_path):
    path = tmp_path / "journal.log"
    journal = fill(path)
    before = path.read_bytes()
    with (
        no_file_larger_than(len(before) + 30),
        pytest.raises(JournalError, match=r"File too large.*same command goes on"),
    ):
        journal.finish(4, "complete", 1.0, {"AP": 1.0})
    assert path.read_bytes() == before
    assert [trial.state for trial in Journal(path, writable=True).trials()][4] == "running"


def away(monkeypatch, journal: Journal, method: str, times: int, *, after: bool) -> None:
    """Let a method of the storage lose its connection, before or after it did its work."""
    real, left = getattr(journal.storage, method), [times]

    def lost(*arguments, **options):
        if left[0]:
            left[0] -= 1
            if after:
                real(*arguments, **options)
            raise OperationalError("...", None, ConnectionError("server closed the connection"))
        return real(*arguments, **options)

    monkeypatch.setattr(journal.storage, method, lost)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("method", ["create_new_trial", "set_trial_user_attr", "set_trial_state_values"])
def test_a_lost_connection_loses_and_repeats_nothing(tmp_path, monkeypatch, caplog, method, after):
    monkeypatch.setattr(storage, "RETRY_SECONDS", (0.0, 0.0, 0.0))
    journal = fill(f"sqlite:///{tmp_path}/journal.db")
    away(monkeypatch, journal, method, times=2 if not after else 1, after=after)
    number = journal.add(Candidate(origin="search", genotype=known.pafpn(), proposal=5), space_choices={})
    journal.finish(number, "complete", 9.0, {"AP": 9.0})
    trials = Journal(f"sqlite:///{tmp_path}/journal.db").trials()
    assert trials == journal.trials()
    assert (len(trials), trials[5].reward, trials[5].candidate.genotype) == (6, 9.0, known.pafpn())
    assert "server closed the connection); trying again" in caplog.text


def test_a_database_that_stays_away_is_one_line_without_its_password(monkeypatch):
    monkeypatch.setattr(storage, "RETRY_SECONDS", (0.0,))
    with pytest.raises(
        JournalError, match=r"postgresql\+psycopg://me:\*\*\*@127.0.0.1:1/nas cannot be used: .*refused"
    ):
        Journal("postgresql+psycopg://me:secret@127.0.0.1:1/nas", writable=True)


@pytest.mark.parametrize("url", ["nonsense", "mysql://x/y", "postgres://x/y"])
def test_a_url_that_cannot_be_right_is_not_tried_again(url, caplog):
    with pytest.raises(JournalError, match=r"cannot be (read|used)"):
        Journal(url, writable=True)
    assert "trying again" not in caplog.text


def test_two_searches_in_one_database_are_two_studies(tmp_path):
    config = toy_config(tmp_path, storage=f"sqlite:///{tmp_path}/journal.db")
    for name, trials in (("a", 1), ("b", 3)):
        run = RunDirectory(tmp_path / name)
        with run.claim(config):
            scheduler = plan_of(config, open_journal(run, writable=True))
            for _ in range(trials):
                scheduler.next()
    assert [len(open_journal(RunDirectory(tmp_path / name)).trials()) for name in "ab"] == [1, 3]


def test_a_relative_database_is_the_same_one_from_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = toy_config(tmp_path, storage="sqlite:///journal.db")
    assert config.storage == f"sqlite:///{tmp_path}/journal.db"
    with pytest.raises(ValueError, match="is kept in memory only"):
        toy_config(tmp_path, storage="sqlite:///:memory:")


@pytest.fixture
def postgres():
    if binaries() is None:
        pytest.skip("PostgreSQL's server (pg_ctl, initdb) is not installed on this machine")
    server = Postgres()
    yield server
    server.remove()


def test_postgres_killed_between_two_records_is_waited_for(postgres, monkeypatch):
    journal = fill(postgres.url)
    postgres.kill()
    waits = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        postgres.start()

    monkeypatch.setattr(storage, "sleep", wait)
    journal.finish(4, "complete", 1.0, {"AP": 1.0})
    assert waits
    assert Journal(postgres.url).trials() == journal.trials()
