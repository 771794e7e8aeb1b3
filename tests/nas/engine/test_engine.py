"""The search on real Ray: it finishes, survives what dies, goes on where it stopped, and says what went wrong."""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import optuna
import pytest

from nas import interruption
from nas.configuration import ConfigError
from nas.engine.constraint_filter import UnsatisfiedError
from nas.engine.scheduler import TrialScheduler
from nas.errors import UserError
from nas.results.confirmed import verdict_of
from nas.runs.journal import Journal
from nas.runs.journal_lines import JournalError
from nas.runs.run_directory import RunDirectory, RunDirectoryError
from nas.search.config import ControllerConfig, ResourceConfig, SearchConfig
from nas.search.constraints import ConstraintConfig
from nas.search.records import Trial
from nas.workers.placement import WorkersError
from necks import load_exported
from tests.support import toy_search
from tests.support.toy_search import CONFIRM, Teller, latency_ms, search, starts, toy_config

pytestmark = pytest.mark.usefixtures("shared_ray")

PATIENCE_SECONDS = 240
"""For what takes a second or two where the machine has nothing else to do."""
PLANNED = {"known:fpn": 1, "known:nas_fpn": 1, "random": 2}


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """Where a search goes; not there yet."""
    return tmp_path / "run"


def misbehaving(run_dir: Path, *names: str, **changes):
    """A configuration whose task reads its orders from a directory of its own."""
    orders = run_dir.parent / "orders"
    orders.mkdir(exist_ok=True)
    for name in names:
        (orders / name).touch()
    return toy_config(orders, **changes), orders


def launch(run_dir: Path, *, trials: int, milliseconds: int) -> subprocess.Popen[str]:
    """The same search in a process of its own."""
    orders = run_dir.parent / "orders"
    orders.mkdir(exist_ok=True)
    arguments = [sys.executable, toy_search.__file__, str(orders), str(run_dir), str(trials), str(milliseconds)]
    # what runs the tests in the background may ignore SIGINT, which children would inherit
    listen = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=listen)


@dataclass(frozen=True)
class Finished:
    config: SearchConfig
    orders: Path
    run_dir: Path
    trials: list[Trial]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, shared_ray) -> Finished:
    """A search run to its end; tests that go on with it copy it."""
    run_dir = tmp_path_factory.mktemp("finished") / "run"
    changes = {"controller": ControllerConfig(name="random", initial=("nas_fpn",)), "trials": 4, "keep_weights": 2}
    config, orders = misbehaving(run_dir, "TOY_NECKS", **changes)
    return Finished(config, orders, run_dir, search(config, run_dir))


@pytest.fixture
def copied(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished.run_dir, tmp_path / "copy"))


def origins(trials: list[Trial]) -> dict[str, int]:
    found: dict[str, int] = {}
    for trial in trials:
        found[trial.candidate.origin] = found.get(trial.candidate.origin, 0) + 1
    return found


def test_known_necks_random_baseline_and_search_are_all_scored(finished):
    assert origins(finished.trials) == {**PLANNED, "search": 4}
    assert all(trial.state == "complete" for trial in finished.trials)
    for trial in finished.trials:
        assert trial.reward == int(trial.candidate.genotype.fingerprint, 16) % 10_000 / 100


def test_a_candidate_that_is_the_same_function_is_not_trained_twice(finished):
    (copy,) = [trial for trial in finished.trials if trial.copied_from is not None]
    assert finished.trials[copy.copied_from].candidate.origin == "known:nas_fpn"
    assert copy.reward == finished.trials[copy.copied_from].reward
    assert starts(finished.orders) == {trial.number: 1 for trial in finished.trials if trial.number != copy.number}


def test_only_the_best_keep_their_weights_and_known_necks_always_do(finished):
    run = RunDirectory(finished.run_dir)
    trained = [trial for trial in finished.trials if trial.copied_from is None]
    found = sorted((t for t in trained if "known" not in t.candidate.origin), key=lambda t: -t.reward)
    kept = {int(path.name) for path in run.trials.iterdir()}
    assert kept == {0, 1, found[0].number, found[1].number}
    for number in kept:
        assert load_exported(run.trial(number)).genotype == finished.trials[number].candidate.genotype


def test_the_journal_is_an_optuna_study_as_it_stands(finished):
    backend = optuna.storages.journal.JournalFileBackend(str(finished.run_dir / "journal.log"))
    study = optuna.load_study(study_name="search", storage=optuna.storages.JournalStorage(backend))
    assert study.best_value == max(trial.reward for trial in finished.trials)
    assert "cell6.merge" in study.trials[-1].params


def test_a_finished_search_started_again_trains_nothing(finished, copied):
    before = starts(finished.orders)
    assert search(finished.config, copied) == finished.trials
    assert starts(finished.orders) == before


def test_more_trials_extend_a_search_whose_last_line_was_torn(finished, copied):
    with (copied / "journal.log").open("a") as file:
        file.write('{"op_code": 8, "worker_id": "x", "trial_id": 0, "user_at')
    (copied / "journal.log.lock").symlink_to("journal.log")
    extended = search(replace(finished.config, trials=6), copied)
    assert extended[: len(finished.trials)] == finished.trials
    assert origins(extended)["search"] == 6


def test_a_journal_cut_off_after_any_line_is_gone_on_with(finished, tmp_path):
    """Each line may be the last that a killed process wrote: what is finished stays, and nothing is told twice."""
    lines = (finished.run_dir / "journal.log").read_text().splitlines(keepends=True)
    for count in range(2, len(lines) + 1):
        path = tmp_path / f"{count}.log"
        path.write_text("".join(lines[:count]))
        journal = Journal(path, writable=True)
        before = {trial.number: trial for trial in journal.trials() if trial.state != "running"}
        scheduler = TrialScheduler(finished.config, journal, lambda trial: None)
        while (following := scheduler.next()) is not None:
            scheduler.complete(following[0], {"AP": 50.0 + following[0]})
        trials = Journal(path).trials()
        assert origins(trials) == {**PLANNED, "search": 4}
        assert all(trials[number] == trial for number, trial in before.items())
        assert all(trial.state != "running" for trial in trials)
        copies = [trial for trial in trials if trial.copied_from is not None]
        assert all(trial.reward == trials[trial.copied_from].reward for trial in copies)


def test_failed_trials_have_their_reason_in_the_journal_and_the_search_goes_on(run_dir):
    resources = ResourceConfig(workers=2, max_retries=1)
    config, orders = misbehaving(run_dir, "TOY_NAN_1", "TOY_BUG_3", "TOY_DIE_5", resources=resources)
    trials = search(config, run_dir)
    assert [trial.number for trial in trials if trial.state == "failed"] == [1, 3, 5]
    assert "loss is nan at step 7" in trials[1].error
    assert "IndexError: a bug in the task (toy_search.py:" in trials[3].error
    assert "worker died" in trials[5].error
    assert (starts(orders)[1], starts(orders)[3]) == (1, 1), "errors of the trial itself are not tried again"
    assert starts(orders)[5] == 1 + config.resources.max_retries
    assert sum(trial.state == "complete" for trial in trials) == 7


def test_a_trial_whose_worker_is_killed_is_tried_again(run_dir):
    config, orders = misbehaving(run_dir, "TOY_DIE_ONCE_2")
    trials = search(config, run_dir)
    assert all(trial.state == "complete" for trial in trials)
    assert starts(orders)[2] == 2


def test_killed_in_the_middle_it_goes_on_without_repeating_or_losing_anything(run_dir):
    process = launch(run_dir, trials=10, milliseconds=400)
    finished = []
    for line in process.stdout:
        if line.startswith("finished"):
            finished.append(int(line.split()[1]))
        if len(finished) == 5:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = {trial.number: trial for trial in Journal(run_dir / "journal.log").trials() if trial.state == "complete"}
    assert set(finished) <= set(before)
    config, orders = misbehaving(run_dir, trials=10, milliseconds=400)
    first = starts(orders)

    trials = search(config, run_dir)
    assert origins(trials) == {**PLANNED, "search": 10}
    assert all(trial.state == "complete" for trial in trials)
    again = starts(orders)
    for number, trial in before.items():
        assert again[number] == first[number], f"trial {number} was finished and must not be run again"
        assert trials[number] == trial


def test_killed_in_the_confirmation_it_gives_the_same_answer(run_dir):
    """The trials are the same: the confirmation alone is unbroken once, and killed once."""
    config, _ = misbehaving(run_dir, milliseconds=400)
    search(config, run_dir)
    unbroken = shutil.copytree(run_dir, run_dir.with_name("unbroken"))
    config, _ = misbehaving(run_dir, CONFIRM, milliseconds=400)
    wanted = verdict_of(config, search(config, unbroken))

    process = launch(run_dir, trials=config.trials, milliseconds=400)
    for count, _ in enumerate(line for line in process.stdout if line.startswith("finished")):
        if count == 5:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = Journal(run_dir / "journal.log").trials()
    assert 6 <= sum(trial.candidate.confirms is not None and trial.reward is not None for trial in before) < 12
    after = search(config, run_dir)
    assert verdict_of(config, after) == wanted
    assert wanted is not None
    assert wanted.trainings == 12
    assert [trial for trial in after if trial in before] == [trial for trial in before if trial.state != "running"]


def test_one_worker_and_one_seed_give_the_same_search_again(tmp_path):
    config, _ = misbehaving(tmp_path / "a", resources=ResourceConfig(workers=1), milliseconds=1)
    runs = [search(config, tmp_path / name) for name in ("a", "b")]
    first, second = ([(t.candidate.genotype, t.reward) for t in trials] for trials in runs)
    assert first == second


def test_what_a_worker_finds_too_slow_is_not_trained_and_another_takes_its_place(run_dir):
    constraints = ConstraintConfig(max_latency_ms=4)
    config, orders = misbehaving(run_dir, constraints=constraints, resources=ResourceConfig(workers=2))
    trials = search(config, run_dir)
    rejected = [trial for trial in trials if trial.rejected]
    assert origins([trial for trial in trials if not trial.rejected]) == {**PLANNED, "search": 6}
    assert rejected
    for trial in trials:
        slow = latency_ms(trial.candidate.genotype) > 4
        assert bool(trial.rejected) == (slow and not trial.candidate.is_known)
    assert {trial.state for trial in rejected} == {"failed"}
    assert rejected[0].error == f"constraint: {rejected[0].metrics['latency_ms']:.3g} ms > max_latency_ms 4.0"
    assert starts(orders).keys() == {trial.number for trial in trials if trial.state == "complete"}


def test_a_latency_that_no_neck_reaches_ends_the_search(run_dir):
    constraints = ConstraintConfig(max_latency_ms=0.5, max_rejections_in_a_row=4)
    config, _ = misbehaving(run_dir, constraints=constraints)
    with pytest.raises(UnsatisfiedError, match=r"last [45] .* random .* [45] by max_latency_ms = 0\.5 \(the smallest"):
        search(config, run_dir)
    trials = Journal(run_dir / "journal.log").trials()
    assert 4 <= sum(bool(trial.rejected) for trial in trials) <= 5, "one beside the fourth may have been in work"


def test_a_search_in_which_everything_fails_is_stopped_with_the_reason(run_dir):
    config, _ = misbehaving(run_dir, *(f"TOY_NAN_{number}" for number in range(10)))
    with pytest.raises(WorkersError, match=r"first 5 trials all failed.*loss is nan"):
        search(config, run_dir)
    failed = [trial for trial in Journal(run_dir / "journal.log").trials() if trial.state == "failed"]
    assert 5 <= len(failed) <= 6, "a trial beside the fifth may have been in work"


def test_a_task_that_cannot_be_made_in_a_worker_stops_the_search(run_dir):
    config, orders = misbehaving(run_dir)
    (orders / f"TOY_NO_TASK_BUT_IN_{os.getpid()}").touch()
    with pytest.raises(WorkersError, match="a worker could not be set up on any of 1 machines: OSError: no task here"):
        search(config, run_dir)
    assert not (orders / "starts.log").exists()


def test_a_journal_deleted_in_mid_search_stops_it(run_dir):
    config, orders = misbehaving(run_dir, trials=20)

    class Deleting(toy_search.Teller):
        def finished(self, trial, scheduler):
            (run_dir / "journal.log").unlink(missing_ok=True)

    with pytest.raises(JournalError, match=r"journal\.log was deleted .* all that it recorded is in .*rescued-1"):
        search(config, run_dir, Deleting())
    trials = Journal(run_dir / "journal.log.rescued-1").trials()
    assert sum(trial.state == "complete" for trial in trials) > 0
    assert sum(starts(orders).values()) < config.total_trials


@pytest.mark.parametrize("workers", [None, 2])
def test_resources_that_are_not_there_are_refused(run_dir, workers):
    config, _ = misbehaving(run_dir, resources=ResourceConfig(gpus=64, workers=workers))
    with pytest.raises(
        ConfigError, match=r"one trial needs 1 CPUs and 64 GPUs on one machine, Ray has 1 \(.*: 2 CPUs, \d GPUs\)"
    ):
        search(config, run_dir)


def test_a_second_search_on_a_live_run_directory_is_refused(run_dir):
    config, _ = misbehaving(run_dir)
    run = RunDirectory(run_dir)
    with run.claim(config):
        assert run.is_live()
        code = f"from nas.runs.run_directory import RunDirectory; print(RunDirectory({str(run_dir)!r}).is_live())"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "True"
        with pytest.raises(RunDirectoryError, match="a search is running"), RunDirectory(run_dir).claim(config):
            pass
    assert not run.is_live()


@pytest.mark.parametrize("change", [{"seed": 5}, {"random_trials": 4}])
def test_a_run_directory_of_another_search_is_refused(run_dir, change):
    config, _ = misbehaving(run_dir)
    with RunDirectory(run_dir).claim(config):
        Journal(run_dir / "journal.log", writable=True)
    other, _ = misbehaving(run_dir, **change)
    field = next(iter(change))
    with pytest.raises(RunDirectoryError, match=f"other settings.*{field}"), RunDirectory(run_dir).claim(other):
        pass
    longer, _ = misbehaving(run_dir, trials=100)
    with RunDirectory(run_dir).claim(longer):
        assert RunDirectory(run_dir).read_config().trials == 100


def test_a_run_directory_from_before_a_setting_existed_goes_on(run_dir):
    config, _ = misbehaving(run_dir)
    run = RunDirectory(run_dir)
    with run.claim(config):
        Journal(run_dir / "journal.log", writable=True)
    record = json.loads(run.config_file.read_text())
    del record["config"]["proxy"]["backbone"]["levels"]
    run.config_file.write_text(json.dumps(record))
    with run.claim(config):
        assert run.read_config() == config


def test_settings_may_be_mended_as_long_as_nothing_was_run(run_dir):
    config, _ = misbehaving(run_dir)
    with RunDirectory(run_dir).claim(config):
        (run_dir / "config.json").rename(run_dir / "config.partial")
    other, _ = misbehaving(run_dir, seed=5)
    with RunDirectory(run_dir).claim(other):
        assert RunDirectory(run_dir).read_config().seed == 5


def test_directories_with_other_things_and_files_are_refused(tmp_path):
    config = toy_config(tmp_path)
    (tmp_path / "notes.txt").touch()
    places = [(tmp_path, "is not empty"), (tmp_path / "notes.txt", "is a file")]
    for path, message in [*places, (tmp_path / "notes.txt" / "run", "cannot be written to")]:
        with pytest.raises(RunDirectoryError, match=message), RunDirectory(path).claim(config):
            pass


def test_a_damaged_configuration_is_named(run_dir):
    config, _ = misbehaving(run_dir)
    with RunDirectory(run_dir).claim(config):
        pass
    (run_dir / "config.json").write_text('{"config": {"na')
    with pytest.raises(RunDirectoryError, match=r"config\.json cannot be read"):
        RunDirectory(run_dir).read_config()


def test_ctrl_c_leaves_everything_finished_in_the_journal(run_dir):
    process = launch(run_dir, trials=10_000, milliseconds=300)
    while not process.stdout.readline().startswith("finished"):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
    assert "trials to go; run the same command again to go on" in errors.splitlines()[-1]
    assert any(trial.state == "complete" for trial in Journal(run_dir / "journal.log").trials())


def test_a_thread_that_asks_for_the_end_gets_it_without_a_signal(run_dir):
    """As one does that finds the run's URL taken over, where SIGINT is ignored."""
    reason = UserError("taken over")

    class Asking(Teller):
        def finished(self, trial: Trial, scheduler: TrialScheduler) -> None:
            interruption.request(reason)

    config, orders = misbehaving(run_dir, trials=30)
    try:
        with pytest.raises(UserError) as caught:
            search(config, run_dir, Asking())
    finally:
        interruption.withdraw(reason)
    assert caught.value is reason
    assert len(starts(orders)) < 8
