"""`nasfpn proxy` as users type it; what is trained is made up, but for one slow test."""

from __future__ import annotations

import json
import random

import pytest

from nas.comparison import run_all as fleet
from nas.comparison.training_job import Result, TrainingJob

FEW = ("--necks", "13", "--out")


@pytest.fixture
def made_up_trainings(monkeypatch):
    """Every neck has an AP of its own, of which a proxy with fewer than 20 steps sees nothing; what was trained."""
    trained: list[TrainingJob] = []

    def run_all(jobs, store, resources, told, *, address=None):
        left = [job for job in jobs if store.get(job) is None]
        for index, job in enumerate(left):
            sees = job.proxy.steps >= 20
            worth = int(job.topology.fingerprint, 16) % 1000 / 20
            drawn = random.Random(f"{job.topology.fingerprint} {job.proxy.steps} {job.seed}")
            ap = 20 + sees * worth + drawn.gauss(0, 0.3)
            seconds = float(job.proxy.steps)
            result = Result({"AP": ap, "seconds": seconds, "seconds/loss": seconds / 2})
            store.add(job, result)
            told(job, result, len(left) - index - 1)
        trained.extend(left)

    monkeypatch.setattr(fleet, "run_all", run_all)
    return trained


def test_a_check_says_what_it_found_and_trains_nothing_twice(tmp_path, in_process, made_up_trainings):
    command = ("proxy", "check", "experiments.signs:smoke", *FEW, tmp_path / "out")
    status, shown, _ = in_process(*command)
    assert status == 0
    assert len(made_up_trainings) == 13 * 4
    for part in (
        "Kendall's tau",
        "noise ceiling",
        "the proxy tells necks apart",
        "time of a trial: 40.0 s",
        "loss 50 %",
    ):
        assert part in shown
    record = json.loads((tmp_path / "out" / "check.json").read_text())
    assert record["agreement"]["tau"] > 0.8
    assert len(record["scores"]) == 13
    assert (tmp_path / "out" / "check.png").stat().st_size > 10_000
    status, shown, _ = in_process(*command)
    assert (status, "52 trainings, 0 of them to do" in shown) == (0, True)
    assert len(made_up_trainings) == 13 * 4


def test_choose_recommends_the_cheapest_that_sees(tmp_path, in_process, made_up_trainings):
    command = ("proxy", "choose", "experiments.signs:smoke", *FEW, tmp_path, "--vary", "steps=10,20,30,40")
    status, shown, _ = in_process(*command)
    assert status == 0
    assert "recommended: --set proxy.steps=20" in shown
    record = json.loads((tmp_path / "choose.json").read_text())
    assert [row["setting"] for row in record["settings"]] == [[f"steps={steps}"] for steps in (10, 20, 30, 40)]
    assert [row["within"] for row in record["settings"]][:2] == [False, True]
    in_process("proxy", "check", "experiments.signs:smoke", *FEW, tmp_path)
    assert len(made_up_trainings) == 13 * 2 * 5, "a check after it trains nothing"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("check", "--seeds", 1), "give --seeds and --long-seeds at least 2"),
        (("check", "--longer", 1), "--longer must be above 1, got 1"),
        (("check", "--necks", 3), "ask for at least that many, got 3"),
        (("check", "--set", "proxy.stepz=3"), "did you mean 'steps'"),
        (("choose", "--vary", "steps"), "write --vary FIELD=VALUE,VALUE"),
        (("choose", "--vary", "stepz=1,2"), "did you mean 'steps'"),
        (("choose", "--vary", "steps=1,x"), "steps: "),
    ],
)
def test_what_users_can_mend_costs_nothing_and_is_one_line(tmp_path, in_process, made_up_trainings, arguments, message):
    kind, *rest = arguments
    status, _, errors = in_process("proxy", kind, "experiments.signs:smoke", "--out", tmp_path, *rest)
    assert status == 2
    assert message in errors
    assert len(errors.strip().splitlines()) == 1
    assert made_up_trainings == []


@pytest.mark.slow
def test_a_real_check(tmp_path, in_process):
    data = ("--set", f"data.root={tmp_path / 'signs'}", "--set", 'data.embedded={"train": 16, "reward": 8, "test": 2}')
    steps = ("--set", "proxy.steps=4", "--longer", 2)
    status, shown, _ = in_process("proxy", "check", "experiments.signs:smoke", *FEW, tmp_path / "out", *data, *steps)
    assert status == 0
    assert "neck backward" in shown
    assert "the proxy does not tell random necks apart" in shown
