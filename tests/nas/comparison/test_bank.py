"""Results on disk: none lost, none done twice, torn lines passed over."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
from made_up import filled, metrics, plan

from nas.comparison.bank import Bank, BankError
from nas.comparison.case import Result

CASES = plan().proxy_cases()


def test_results_come_back_in_another_process(tmp_path):
    bank = filled(tmp_path, CASES[:3], lambda case: Result(metrics(case.seed + 0.1)))
    again = Bank(bank.path)
    assert [again.get(case) for case in CASES[:4]] == [*(bank.get(case) for case in CASES[:3]), None]
    assert again.metrics(CASES[0]) == metrics(CASES[0].seed + 0.1)
    assert again.metrics(CASES[3]) == {}


def test_failures_are_kept_with_their_reason(tmp_path):
    bank = filled(tmp_path, CASES[:1], lambda case: Result(None, "loss is nan"))
    found = Bank(bank.path).get(CASES[0])
    assert found == Result(None, "loss is nan")
    assert found.ap is None


def test_what_makes_another_training_makes_another_key():
    case = CASES[0]
    others = [
        replace(case, seed=case.seed + 1),
        replace(case, split="test"),
        replace(case, genotype=CASES[1].genotype),
        replace(case, proxy=replace(case.proxy, steps=case.proxy.steps + 1)),
        replace(case, data=replace(case.data, root="elsewhere")),
        replace(case, content="other images"),
        replace(case, proxy=replace(case.proxy, threads=2)),
    ]
    assert len({case.key, *(other.key for other in others)}) == 8


def test_names_do_not():
    case = CASES[0]
    same = replace(case, label="x", group="y", profiled=True)
    assert same.key == case.key


@pytest.mark.parametrize("cut", [1, 20, 400])
def test_a_torn_line_costs_its_own_result_only(tmp_path, cut):
    bank = filled(tmp_path, CASES[:3], lambda case: Result(metrics(1.0)))
    bank.path.write_bytes(bank.path.read_bytes()[:-cut])
    torn = Bank(bank.path)
    # a line that lacks nothing but its end is whole
    assert [torn.get(case) is not None for case in CASES[:3]] == [True, True, cut == 1]
    with torn.claim():
        torn.add(CASES[2], Result(metrics(2.0)))
        torn.add(CASES[3], Result(metrics(3.0)))
    assert [Bank(bank.path).get(case).ap for case in CASES[:4]] == [1, 1, 2, 3]


def test_strange_lines_are_passed_over(tmp_path):
    path = tmp_path / "trainings.jsonl"
    path.write_bytes(b'\xff\xfe\n[1]\n{"key": 3}\nnull\n\n')
    assert Bank(path).get(CASES[0]) is None


def test_two_processes_do_not_write_at_once(tmp_path):
    path = tmp_path / "trainings.jsonl"
    program = (
        "import sys; from pathlib import Path; from nas.comparison.bank import Bank, BankError\n"
        f"try:\n    with Bank(Path({str(path)!r})).claim(): pass\n"
        "except BankError as error: sys.exit(str(error))"
    )
    with Bank(path).claim():
        other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert other.returncode == 1
    assert "another process writes" in other.stderr
    with Bank(path).claim():
        pass


def test_what_another_process_added_is_seen_at_the_claim(tmp_path):
    early = Bank(tmp_path / "trainings.jsonl")
    filled(tmp_path, CASES[:1], lambda case: Result(metrics(1.0)))
    assert early.get(CASES[0]) is None
    with early.claim():
        assert early.get(CASES[0]) is not None


def test_a_place_that_cannot_be_written_to_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BankError, match="cannot be written to"), Bank(tmp_path / "file" / "b.jsonl").claim():
        pass
