"""Results on disk: none lost, none done twice, torn lines passed over."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from nas.comparison.result_store import ResultStore, ResultStoreError
from nas.comparison.training_job import Result, TrainingJob
from nas.data.config import DataConfig
from nas.proxy.config import ProxyConfig
from search_space import known
from tests.support.made_up_trainings import filled, metrics, plan

CASES = plan().proxy_jobs()


def test_results_come_back_in_another_process(tmp_path):
    store = filled(tmp_path, CASES[:3], lambda job: Result(metrics(job.seed + 0.1)))
    again = ResultStore(store.path)
    assert [again.get(job) for job in CASES[:4]] == [*(store.get(job) for job in CASES[:3]), None]
    assert again.metrics(CASES[0]) == metrics(CASES[0].seed + 0.1)
    assert again.metrics(CASES[3]) == {}


def test_failures_are_kept_with_their_reason(tmp_path):
    store = filled(tmp_path, CASES[:1], lambda job: Result(None, "loss is nan"))
    found = ResultStore(store.path).get(CASES[0])
    assert found == Result(None, "loss is nan")
    assert found.ap is None


def test_a_full_disk_is_one_line_and_the_next_result_is_whole(tmp_path, monkeypatch):
    store = filled(tmp_path, CASES[:1], lambda job: Result(metrics(1.0)))

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch, store.claim():
        patch.setattr("nas.comparison.result_store.os.fsync", full)
        with pytest.raises(ResultStoreError, match=r"No space left on device; make room, and the same command goes on"):
            store.add(CASES[1], Result(metrics(2.0)))
    assert store.get(CASES[1]) is None


def test_what_makes_another_training_makes_another_key():
    job = CASES[0]
    others = [
        replace(job, seed=job.seed + 1),
        replace(job, split="test"),
        replace(job, topology=CASES[1].topology),
        replace(job, proxy=replace(job.proxy, steps=job.proxy.steps + 1)),
        replace(job, data=replace(job.data, root="elsewhere")),
        replace(job, content="other images"),
        replace(job, proxy=replace(job.proxy, threads=2)),
    ]
    assert len({job.key, *(other.key for other in others)}) == 8


def test_a_neck_by_name_has_a_key_and_a_line_of_its_own(tmp_path):
    jobs = [replace(plan().jobs()[0], topology=name) for name in ("efm", "asff")]
    assert len({job.key for job in jobs}) == 2
    store = filled(tmp_path, jobs, lambda job: Result({"AP": 1.0}))
    assert [json.loads(line)["genotype"] for line in store.path.read_text().splitlines()] == ["efm", "asff"]
    assert ResultStore(store.path).metrics(jobs[1]) == {"AP": 1.0}


def test_names_do_not():
    job = CASES[0]
    same = replace(job, label="x", group="y", profiled=True)
    assert same.key == job.key


@pytest.mark.parametrize("cut", [1, 20, 400])
def test_a_torn_line_costs_its_own_result_only(tmp_path, cut):
    store = filled(tmp_path, CASES[:3], lambda job: Result(metrics(1.0)))
    store.path.write_bytes(store.path.read_bytes()[:-cut])
    torn = ResultStore(store.path)
    # a line that lacks nothing but its end is whole
    assert [torn.get(job) is not None for job in CASES[:3]] == [True, True, cut == 1]
    with torn.claim():
        torn.add(CASES[2], Result(metrics(2.0)))
        torn.add(CASES[3], Result(metrics(3.0)))
    assert [ResultStore(store.path).get(job).ap for job in CASES[:4]] == [1, 1, 2, 3]


def test_strange_lines_are_passed_over(tmp_path):
    path = tmp_path / "trainings.jsonl"
    path.write_bytes(b'\xff\xfe\n[1]\n{"key": 3}\nnull\n\n')
    assert ResultStore(path).get(CASES[0]) is None


def test_two_processes_do_not_write_at_once(tmp_path):
    path = tmp_path / "trainings.jsonl"
    program = (
        "import sys; from pathlib import Path; from nas.comparison.result_store import ResultStore, ResultStoreError\n"
        f"try:\n    with ResultStore(Path({str(path)!r})).claim(): pass\n"
        "except ResultStoreError as error: sys.exit(str(error))"
    )
    with ResultStore(path).claim():
        other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert other.returncode == 1
    assert "another process writes" in other.stderr
    with ResultStore(path).claim():
        pass


def test_what_another_process_added_is_seen_at_the_claim(tmp_path):
    early = ResultStore(tmp_path / "trainings.jsonl")
    filled(tmp_path, CASES[:1], lambda job: Result(metrics(1.0)))
    assert early.get(CASES[0]) is None
    with early.claim():
        assert early.get(CASES[0]) is not None


def test_a_place_that_cannot_be_written_to_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ResultStoreError, match="cannot be written to"),
        ResultStore(tmp_path / "file" / "b.jsonl").claim(),
    ):
        pass


def test_what_an_older_version_trained_is_found_again():
    """The key is that of a version that lacked some fields of the data; they change it only where they do something."""
    data = DataConfig(root="data/signs")
    job = TrainingJob("x", "", known.fpn(), ProxyConfig(), data, 3, "content")
    assert job.key == "4b55fab49606f9825327f40c2e3bd901"
    assert replace(job, data=replace(data, categories=("cup",))).key != job.key
    assert replace(job, data=replace(data, value_range=(0.0, 9.0))).key != job.key
