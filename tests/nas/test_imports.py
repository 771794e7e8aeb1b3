"""What short commands import: packages that they do not need cost seconds of each."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import nas
from tests.support.made_up_run import made_up_run

CODE = """
import sys
from nasfpn.command import main
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
print("imported:", *(name for name in {names} if name in sys.modules))
"""
HEAVY = ("torch", "torchvision", "torch._dynamo.eval_frame", "sympy", "ray", "sklearn", "pandas", "sqlalchemy", "onnx")


NAS = Path(nas.__file__).parent
OURS = re.compile(r"\bexperiments[./]|[\"']experiments[\"']|\bnasfpn\.")


def test_nas_names_no_run_and_no_file_of_the_rooms_above_it():
    """But for `references.py`, which finds our runs beside a package `experiments` of the user's project."""
    modules = [path for path in NAS.rglob("*.py") if path != NAS / "references.py"]
    assert [str(path) for path in modules if OURS.search(path.read_text())] == []
    assert OURS.search((NAS / "references.py").read_text())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return made_up_run(tmp_path_factory.mktemp("run") / "run")[0].path


def imported(*words: object) -> set[str]:
    """Those of `HEAVY` that a command imports."""
    command = [sys.executable, "-c", CODE.format(names=HEAVY), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=True)
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_help_status_and_the_report_of_a_short_search_import_nothing_heavy(run):
    assert imported("--help") == set()
    assert imported("status", run) == set()
    assert imported("report", run) == set()


def test_describe_does_without_the_compiler(run):
    needed = {"torch", "torchvision", "sympy"}
    small = ("--backbone", "resnet10", "--channels", 16, "--size", 128)
    assert imported("describe", "nas_fpn", *small) <= needed
    assert imported("describe", f"{run}:1", "--classes", 3) <= needed


def test_the_compiler_is_there_when_it_is_called():
    code = """
from nas.detection.without_compiler import defer_compiler
defer_compiler()
import sys, torch, torchvision
from torchvision.models.detection import retinanet_resnet50_fpn
assert "torch._dynamo.eval_frame" not in sys.modules
assert torch.compile(lambda x: x + 1, backend="eager")(torch.ones(2)).tolist() == [2, 2]
assert "torch._dynamo.eval_frame" in sys.modules
import torch._dynamo.utils
assert torch._dynamo.utils.is_compile_supported("cpu") in (True, False)
boxes = torch.tensor([[0, 0, 0, 4, 4.0]])
assert torchvision.ops.roi_align(torch.ones(1, 1, 8, 8), boxes, 2).shape == (1, 1, 2, 2)
"""
    subprocess.run([sys.executable, "-c", code], timeout=200, check=True)
