"""`nasfpn describe` of anything that is a neck: named, drawn, compared; and Optuna's dashboard on a run."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from nas.results.compare import cell_lines, outline, side_by_side
from nas.search.standings import best_found
from necks import build_neck
from necks.exported import save_exported
from search_space import KNOWN, Genotype, MergeCell, known_genotype, pyramid_space
from tests.support.made_up_run import made_up_run
from tests.support.ray_nodes import free_ports

SMALL = ("--backbone", "resnet10", "--channels", 16, "--size", 128)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return made_up_run(tmp_path_factory.mktemp("run") / "run")


def test_cells_are_named_by_what_they_compute():
    assert cell_lines(KNOWN["nas_fpn"]()) == [
        "p4_a = conv(attention(p4, p6))",
        "p4_b = conv(sum(p4, p4_a))",
        "p3_out = conv(sum(p3, p4_b))",
        "p4_out = conv(sum(p4_b, p3_out))",
        "p5_out = conv(attention(p3_out, p4_out) + p5)",
        "p7_out = conv(attention(p4_b, p5_out) + p7)",
        "p6_out = conv(attention(p5_out, p7_out))",
    ]
    assert cell_lines(KNOWN["fpn"]())[:2] == ["p6_a = sum(p6, p7)", "p5_a = sum(p5, p6_a)"]
    dead = Genotype((3, 4), (MergeCell(4, (0, 1)), MergeCell(4, (0, 1)), MergeCell(3, (0, 1))))
    assert [line.split(" =")[0] for line in cell_lines(dead)] == ["p4_out", "p3_out"]


@pytest.mark.parametrize("seed", range(10))
def test_side_by_side_has_every_cell_of_both_once(seed):
    rng = random.Random(seed)
    space = pyramid_space()
    first = space.sample(rng)
    second = space.mutate(first, rng)
    pairs = side_by_side(first, second)
    assert [pair.first for pair in pairs if pair.first] == cell_lines(first)
    assert [pair.second for pair in pairs if pair.second] == cell_lines(second)
    assert not any(pair.differs for pair in side_by_side(first, first))
    assert outline(first).keys() == outline(second).keys()


def test_a_comparison_says_what_differs(in_process):
    status, said, complained = in_process("describe", "fpn", "--compare", "bifpn", *SMALL)
    assert (status, complained) == (0, "")
    assert "differs" in said
    assert "p3_out = conv(p3_a)" in said
    assert "longest way" in said
    said = in_process("describe", "fpn", "--compare", "fpn@torchvision", *SMALL)[1]
    assert "both compute the same function" not in said
    assert "both compute the same function" in in_process("describe", "fpn", "--compare", "fpn", *SMALL)[1]


def test_a_found_neck_is_compared_at_the_repeats_of_the_published_one(tmp_path, in_process):
    path = tmp_path / "found.json"
    path.write_text(json.dumps(known_genotype("bifpn").to_dict()))
    said = in_process("describe", path, "--compare", "nas_fpn", *SMALL)[1]
    (line,) = [line for line in said.splitlines() if "built as" in line]
    assert line.count("7 x ") == 2
    said = in_process("describe", path, "--compare", "nas_fpn", "--repeats", 2, *SMALL)[1]
    (line,) = [line for line in said.splitlines() if "built as" in line]
    assert line.count("2 x ") == 2


def test_a_found_neck_is_compared_at_the_repeats_of_an_exported_one(tmp_path, in_process):
    save_exported(build_neck("fpn", in_channels=(8, 16, 32), out_channels=16, repeats=2), tmp_path / "exported")
    path = tmp_path / "found.json"
    path.write_text(json.dumps(known_genotype("bifpn").to_dict()))
    status, said, complained = in_process("describe", tmp_path / "exported", "--compare", path, *SMALL)
    assert (status, complained) == (0, "")
    (line,) = [line for line in said.splitlines() if "built as" in line]
    assert line.count("2 x ") == 2


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_a_picture_is_drawn_without_graphviz(tmp_path, in_process, suffix):
    picture = tmp_path / f"cell.{suffix}"
    status, said, complained = in_process("describe", "nas_fpn", "--draw", picture, *SMALL)
    assert (status, complained) == (0, "")
    assert f"drawn: {picture}" in said
    assert picture.stat().st_size > 5000


def test_trials_of_a_run_are_necks(run, in_process, tmp_path):
    directory, _, trials = run
    best = best_found(trials)
    said = in_process("describe", directory.path, *SMALL)[1]
    assert f"trial {best.number} of {directory.path} (search, reward {best.reward:.1f})" in said
    assert best.candidate.genotype.fingerprint in said
    failed = next(trial for trial in trials if trial.state == "failed")
    said = in_process("describe", f"{directory.path}:{failed.number}", *SMALL)[1]
    assert f"trial {failed.number} of {directory.path} (search)" in said
    file = tmp_path / "genotype.json"
    file.write_text(failed.candidate.genotype.to_json())
    said = in_process("describe", f"{directory.path}:{failed.number}", "--compare", file, *SMALL)[1]
    assert "both compute the same function" in said


def test_what_cannot_be_described_is_refused_with_a_way_out(run, in_process, tmp_path):
    directory, *_ = run
    (tmp_path / "torn.json").write_text('{"format": 1, "levels": [3,')
    refusals = {
        (f"{directory.path}:99",): "there is no trial 99; ",
        (f"{tmp_path}:1",): "RUN_DIR:NUMBER for a trial",
        (str(tmp_path),): "RUN_DIR for the best found",
        (str(tmp_path / "torn.json"),): "torn.json",
        ("fpn", "--draw", tmp_path / "x.gif"): "end its name with .svg, .png, .pdf",
        ("fpn", "--draw", tmp_path / "none" / "x.png"): "cannot be written",
        ("asff", "--draw", tmp_path / "x.png"): "is not made of merge cells",
        ("asff", "--compare", "fpn"): "is not made of merge cells",
        (
            "fpn",
            "--compare",
            "bifpn",
            "--draw",
            tmp_path / "x.png",
        ): "leave out --compare, and draw each neck by itself",
        ("--table", "--draw", tmp_path / "x.png"): "--draw and --compare need the name of one neck",
    }
    for options, reason in refusals.items():
        status, _, complained = in_process("describe", *options, *SMALL)
        assert status == 2, options
        assert reason in complained, options


def test_the_dashboard_shows_the_run_on_loopback_only(run):
    pytest.importorskip("optuna_dashboard")
    directory, _, trials = run
    (port,) = free_ports(1)
    words = ["-c", "from nas.cli import main; main()", "dashboard", directory.path, "--port", port]
    server = subprocess.Popen([sys.executable, *map(str, words)], stdout=subprocess.PIPE, text=True)
    try:
        studies = _json(f"http://127.0.0.1:{port}/api/studies")["study_summaries"]
        assert [study["study_name"] for study in studies] == ["search"]
        detail = _json(f"http://127.0.0.1:{port}/api/studies/{studies[0]['study_id']}?after=0")
        assert len(detail["trials"]) == len(trials)
    finally:
        with asking(f"http://127.0.0.1:{port}/api/studies"):
            server.terminate()
            said, _ = server.communicate(timeout=30)
    assert server.returncode == 128 + signal.SIGTERM
    assert said.startswith(f"http://127.0.0.1:{port}/ shows the search")
    assert "warning" not in said


@contextmanager
def asking(url: str) -> Iterator[None]:
    """Requests follow one another: a signal that meets one of them ends the server like any other."""
    done = threading.Event()

    answered = threading.Semaphore(0)

    def ask() -> None:
        while not done.is_set():
            with suppress(OSError):
                urllib.request.urlopen(url, timeout=5).close()
                answered.release()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        assert all(answered.acquire(timeout=60) for _ in threads)
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()


def _json(url: str) -> dict:
    deadline = time.monotonic() + 240
    while True:
        try:
            with urllib.request.urlopen(url) as answer:
                return json.load(answer)
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def test_a_taken_port_is_refused(run, in_process):
    import socket

    pytest.importorskip("optuna_dashboard")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, _, complained = in_process("dashboard", run[0].path, "--port", port)
    assert status == 2
    assert "take another --port" in complained
