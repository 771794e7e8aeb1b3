"""Workers that hang, lose memory, die, stop early or go on from a checkpoint, on real Ray."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from nas.engine.rerun import train_again
from nas.runs.journal import Journal
from nas.search.records import Candidate, Trial
from nas.search.resources import ResourceConfig
from nas.search.stopping import StoppingConfig
from nas.workers.ray_session import fitting
from search_space import known
from tests.support.toy_search import Teller, make_toy, search, starts, toy_config

pytestmark = pytest.mark.usefixtures("shared_ray")


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return tmp_path / "run"


def ordered(run_dir: Path, *names: str, **changes):
    orders = run_dir.parent / "orders"
    orders.mkdir()
    for name in names:
        (orders / name).touch()
    return toy_config(orders, **changes), orders


def test_a_trial_that_takes_too_long_is_ended_and_one_without_memory_fails_with_the_reason(run_dir):
    resources = ResourceConfig(workers=2, trial_seconds=3)
    config, orders = ordered(run_dir, "TOY_SLOW_2", "TOY_MEMORY_4", resources=resources)
    trials = search(config, run_dir)
    assert [trial.number for trial in trials if trial.state == "failed"] == [2, 4]
    assert trials[2].error == "took longer than resources.trial_seconds = 3; it was ended"
    assert trials[4].error.startswith("MemoryError: cannot allocate 3 TiB (toy_search.py:")
    assert starts(orders)[2] == 1, "it would take as long again"


def test_trials_behind_the_others_stop_at_a_rung_and_known_necks_do_not(run_dir):
    stopping = StoppingConfig(rungs=(25, 50), reduction_factor=2)
    config, _ = ordered(run_dir, stopping=stopping, trials=10, milliseconds=1)
    trials = search(config, run_dir)
    assert {trial.state for trial in trials} == {"complete", "stopped"}
    assert all(trial.state == "complete" for trial in trials if trial.candidate.is_known)
    for trial in trials:
        full = int(trial.candidate.genotype.fingerprint, 16) % 10_000 / 100
        rungs = {name: value for name, value in trial.metrics.items() if name.startswith("reward@")}
        if trial.candidate.is_known:
            assert (trial.reward, rungs) == (full, {})
        elif trial.state == "complete":
            assert (trial.reward, rungs) == (full, {"reward@25": full * 0.25, "reward@50": full * 0.5})
        else:
            assert trial.reward in (full * 0.25, full * 0.5)
            assert list(rungs.values())[-1] == trial.reward
    assert Journal(run_dir / "journal.log").trials() == trials
    more = search(replace(config, trials=12), run_dir)
    assert more[: len(trials)] == trials


def test_a_trial_whose_worker_died_goes_on_from_its_checkpoint(run_dir):
    resources = ResourceConfig(workers=2, checkpoint_seconds=0)
    config, orders = ordered(run_dir, resources=resources, trials=1)
    teller = Teller()
    trials = search(config, run_dir, teller)
    assert all(trial.state == "complete" for trial in trials)
    for trial in trials:
        assert (orders / f"continued_{trial.number}").read_text() == f"checkpoint of {trial.number}"
    assert not list((run_dir / "checkpoints").iterdir()), "finished trials need none"
    (usage,) = teller.usage
    assert usage.lost == len(trials)
    assert usage.workers in (1, 2)
    assert usage.worker_seconds > 0.05 * len(trials)
    assert teller.expected == [(2, None)]


def test_a_trial_trained_again_gives_its_reward_again_and_stops_where_it_stopped(run_dir):
    config, _ = ordered(run_dir, stopping=StoppingConfig(rungs=(25, 50), reduction_factor=2), milliseconds=1)
    for number, (state, reward) in enumerate((("complete", 41.5), ("stopped", 10.25))):
        genotype = known.fpn() if state == "complete" else known.pafpn()
        full = int(genotype.fingerprint, 16) % 10_000 / 100
        metrics = {"AP": reward, "reward@25": full / 4} | ({"reward@50": full / 2} if state == "complete" else {})
        trial = Trial(
            number=number, candidate=Candidate(origin="search", genotype=genotype), state=state, reward=reward,
            metrics=metrics, error=None, copied_from=None, order=number,
        )  # fmt: skip
        assert train_again(config, trial, make_toy) == (full if state == "complete" else full / 4)


def test_losses_and_retries_are_told(run_dir, caplog):
    config, _ = ordered(run_dir, "TOY_DIE_ONCE_2", resources=ResourceConfig(workers=1))
    with caplog.at_level(logging.WARNING):
        search(config, run_dir)
    assert "trial 2 lost its worker (killed, out of memory" in caplog.text


@pytest.mark.parametrize(
    ("wanted", "machine", "slots"),
    [
        ({"cpus": 1}, {"CPU": 4}, 4),
        ({"cpus": 1.5}, {"CPU": 4}, 2),
        ({"cpus": 0.1}, {"CPU": 1}, 10),
        ({"cpus": 1, "gpus": 0.25}, {"CPU": 16, "GPU": 2}, 8),
        ({"cpus": 1, "gpus": 0.3}, {"CPU": 16, "GPU": 2}, 6),
        ({"cpus": 1, "gpus": 0.75}, {"CPU": 16, "GPU": 2}, 2),
        ({"cpus": 4, "gpus": 2}, {"CPU": 16, "GPU": 8}, 4),
        ({"cpus": 4, "gpus": 1}, {"CPU": 16}, 0),
    ],
)
def test_slots_of_a_machine(wanted, machine, slots):
    assert fitting(ResourceConfig(**wanted), machine) == slots
