"""`nasfpn train` on real Ray: one process, two processes, lost processes, and what is refused."""

from __future__ import annotations

import io
import os
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from filelock import FileLock

from experiments.benchmarks.broken import break_twice, epochs, finish, launch
from nas.cli import main
from nas.detection.saved import load_detector
from nas.training.directory import TrainingDirectory
from tests.support import tiny_training
from tests.support.ends import END_SECONDS, TRACES, Command
from tests.support.listeners import watched
from tests.support.made_up_run import made_up_run

EXPERIMENT = f"{tiny_training.__file__}:train"


def command(run_dir: Path, root: Path, *more: object) -> list[str]:
    words = ["train", EXPERIMENT, "--run-dir", run_dir, "--set", f"data.root={root}", *more]
    return [str(word) for word in words]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("signs")


@pytest.fixture(scope="module")
def trained(root, one_ray, tmp_path_factory):
    """A training of two epochs, and what it said."""
    run_dir = tmp_path_factory.mktemp("trained") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["nasfpn", *command(run_dir, root, "--tensorboard")])
        said, complained = io.StringIO(), io.StringIO()
        with redirect_stdout(said), redirect_stderr(complained), pytest.raises(SystemExit) as stop:
            main()
    assert not stop.value.code, complained.getvalue()
    return run_dir, said.getvalue()


def test_a_training_ends_with_a_detector_and_a_line_per_epoch(trained):
    run_dir, said = trained
    lines = [line for line in said.splitlines() if not line.startswith("warning")]  # of the few images
    assert lines[0].startswith("tiny: resnet10, nas_fpn x 1, 16 channels, 96 px, 2 epochs, batches of 4, 1 process;")
    assert [line[:7] for line in lines[1:3]] == ["[  1/2]", "[  2/2]"]
    assert all("loss" in line and "AP50" in line for line in lines[1:3])
    assert lines[-1].endswith(f"after 2 epochs; the detector is in {run_dir / 'model'}")
    assert [entry["epoch"] for entry in epochs(run_dir)] == [1, 2]
    assert len(load_detector(run_dir / "model")[1].classes) == 6
    assert any((run_dir / "tensorboard").iterdir())
    assert len(list((run_dir / "checkpoints").glob("epoch_*"))) == 2


def test_a_training_is_extended_by_more_epochs(trained, root, in_process, monkeypatch):
    run_dir, _ = trained
    before = epochs(run_dir)
    with watched(os.getpid()) as ports:
        status, said, complained = in_process(*command(run_dir, root, "--epochs", 3))
    assert status == 0, complained
    assert any(port.process.startswith("ray::RayTrain") for port in ports)
    assert [port for port in ports if not port.is_loopback] == []
    after = epochs(run_dir)
    assert after[:2] == before
    assert [entry["epoch"] for entry in after] == [1, 2, 3]
    assert "[  3/3]" in said
    assert "the training goes on with epoch 3: 2 of 3 epochs are done" in said
    assert "[  1/3]" not in said, "it was printed by the first start"
    monkeypatch.setattr("nas.commands.train.run_training", None)  # no Ray is started for nothing
    status, said, _ = in_process(*command(run_dir, root, "--epochs", 3))
    assert status == 0
    assert "the training has nothing left to train: 3 of 3 epochs are done" in said
    assert "[  3/3]" not in said
    assert f"after 3 epochs; the detector is in {run_dir / 'model'}" in said
    assert not TrainingDirectory(run_dir).is_finished(4)
    (run_dir / "epochs.jsonl").touch()
    assert not TrainingDirectory(run_dir).is_finished(3), "epochs after its detector: it was killed in between"


def test_other_settings_are_refused(trained, root, in_process):
    run_dir, _ = trained
    status, _, complained = in_process(*command(run_dir, root, "--set", "optimizer.lr=1"))
    assert status == 2
    assert "belongs to a training with other settings (optimizer.lr: 0.003 -> 1.0)" in complained


def test_two_trainings_in_one_directory_are_refused(trained, root, in_process):
    run_dir, _ = trained
    with FileLock(run_dir / "training.lock"):
        status, _, complained = in_process(*command(run_dir, root))
    assert status == 2
    assert "a training is running in" in complained


def test_a_directory_with_other_things_is_left_alone(root, tmp_path, in_process):
    (tmp_path / "thesis.txt").write_text("years of work")
    status, _, complained = in_process(*command(tmp_path, root))
    assert status == 2
    assert "is not empty" in complained
    assert {entry.name for entry in tmp_path.iterdir()} <= {"thesis.txt", "training.lock"}


def test_the_directory_of_a_search_is_named_and_what_to_do_with_it(root, tmp_path, in_process):
    run, *_ = made_up_run(tmp_path / "searched")
    status, _, complained = in_process(*command(run.path, root))
    assert status == 2
    assert f"{run.path} is the directory of a search; give --run-dir a new directory" in complained
    assert f"--neck {run.path}" in complained
    assert complained.count("\n") == 1
    assert len(complained) < 300


def test_the_directory_of_a_training_is_named_to_commands_of_searches(trained, in_process):
    run_dir, _ = trained
    for words in (
        ("status", run_dir),
        ("report", run_dir),
        ("search", "experiments.signs:smoke", "--run-dir", run_dir),
    ):
        status, _, complained = in_process(*words)
        assert status == 2
        assert f"{run_dir} is the directory of a training (nasfpn train), not of a search" in complained


@pytest.mark.usefixtures("one_ray")
def test_a_refused_training_leaves_no_directory(root, tmp_path, in_process):
    status, _, complained = in_process(*command(tmp_path / "runs" / "run", root, "--neck", "bifpm"))
    assert status == 2
    assert "'bifpm' is neither a known neck" in complained
    assert not (tmp_path / "runs").exists()


def test_a_search_is_no_training(root, tmp_path, in_process):
    status, _, complained = in_process("train", "experiments.signs:search", "--run-dir", tmp_path / "run")
    assert status == 2
    assert "returns a SearchConfig; nasfpn train takes a function that returns a TrainConfig" in complained


@pytest.mark.usefixtures("one_ray")
@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_loss_that_explodes_is_told_once_and_not_tried_again(root, tmp_path, in_process, monkeypatch, processes):
    monkeypatch.chdir(root.parent)  # a relative root means the directory of the command, in every process
    sets = ("--set", "optimizer.lr=1e9", "--set", "optimizer.warmup_epochs=0", "--set", "optimizer.name=sgd")
    more = ("--set", "optimizer.clip_norm=null", "--processes", processes)
    status, _, complained = in_process(*command(tmp_path / "run", Path(root.name), *sets, *more))
    assert status == 2
    assert "in epoch 1, step 4; lower optimizer.lr" in complained
    assert complained.count("\n") == 1


@pytest.mark.usefixtures("one_ray")
@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_an_error_of_the_program_is_told_with_its_reason_and_not_tried_again(root, tmp_path, in_process, processes):
    """Batch norm has one value per channel at the coarsest level."""
    small = ("--set", "batch_size=1", "--set", "neck.name=bifpn", "--processes", processes)
    status, _, complained = in_process(*command(tmp_path / "run", root, *small))
    log = tmp_path / "run" / "failure.log"
    assert status == 2
    assert "the training failed: ValueError: Expected more than 1 value per channel when training" in complained
    assert complained.strip().endswith(f"the traceback is in {log}")
    assert complained.count("\n") == 1
    assert log.read_text().startswith("Traceback")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_killed_and_resumed_end_as_if_unbroken(root, tmp_path):
    whole, broken = tmp_path / "unbroken", tmp_path / "broken"
    words = (EXPERIMENT, "--set", f"data.root={root}", "--processes", 2, "--epochs", 8)
    finish(launch(whole, words), 400)
    break_twice(lambda: launch(broken, words), broken, 2, 4, 400)
    wanted, found = epochs(whole), epochs(broken)
    assert [entry["epoch"] for entry in found] == list(range(1, 9))
    assert [entry["loss"] for entry in found] == pytest.approx([entry["loss"] for entry in wanted], rel=1e-4)
    assert found[-1]["loss"] < found[0]["loss"]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("victim", "number", "status"), [("driver", 15, 143), ("driver", 2, 130), ("gcs", 9, 2)])
def test_a_training_that_is_ended_says_so_in_one_line_and_goes_on(root, victim, number, status):
    with tempfile.TemporaryDirectory(prefix="e-", dir="/tmp") as home:
        words = ["-c", "from nas.cli import main; main()", *command(Path(home) / "run", root, "--epochs", 6)]
        training = Command(Path(home), words)
        try:
            training.wait_until(lambda: any(line.startswith("[  1/6]") for line in training.output), 400)
            training.strike(victim, number)
            assert training.end(END_SECONDS) == status, training.said
            last = training.errors[-1]
            assert last.endswith("is kept: run the same command again to go on\n")
            assert not [trace for trace in TRACES if trace in training.said], training.said
            assert all(line.startswith("making the embedded data") for line in training.errors[:-1]), training.said
            training.require_nothing_left()
        finally:
            training.kill()
        finish(launch(Path(home) / "run", (EXPERIMENT, "--set", f"data.root={root}", "--epochs", 6)), 400)
        assert [entry["epoch"] for entry in epochs(Path(home) / "run")] == list(range(1, 7))
