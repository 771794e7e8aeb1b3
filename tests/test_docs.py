"""README and docs: every command parses, every example runs, every extension works; marked slow: every command runs."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import pytest
import torch
import typer

from experiments import signs
from experiments.rooms import imports_between_rooms, rooms_of
from nas.data.config import DataConfig, SignsConfig
from nas.data.signs import make_signs
from nas.export.onnx_file import read_onnx
from nas.export.python_file import write_python
from nas.export.suppression import detections_difference
from nas.search.config import ControllerConfig, ResourceConfig
from nas.search.confirmation import ConfirmConfig
from nas.workers.ray_session import connected
from nasfpn.command import app, main
from necks import MergeNeck, build_neck, save_exported
from search_space import known
from tests.support.busy_detector import save_busy_detector
from tests.support.other_formats import ultralytics

HOME = Path(__file__).parent.parent
DOCS = (
    "searching",
    "data",
    "backbone",
    "constraints",
    "cluster",
    "tune",
    "proxy",
    "necks",
    "detectors",
    "export",
    "extending",
    "security",
    "house",
)
PAGES = [HOME / "README.md", *(HOME / "docs" / f"{name}.md" for name in DOCS)]
REASONS = {"needs TensorRT", "needs a cluster", "needs COCO", "needs weights", "needs your data", "run by hand"}
RUN_ELSEWHERE = {"with_openvino.py"}
"""Python that needs what the commands above it write."""
SMALL = SignsConfig(train=16, reward=8, test=4)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its title, its text."""

    language: str
    title: str
    text: str


FENCE = re.compile(
    r"""
    ^```(?:(?P<plain>\w+)(?:[ ]title="(?P<title>[^"]*)")?\n           # ```sh title="needs COCO", in the README
      |\{code-block\}[ ](?P<directive>\w+)\n:caption:[ ](?P<caption>.*)\n\n)  # MyST's directive, in docs/
    (?P<text>(?:.*\n)*?)```$
    """,
    re.MULTILINE | re.VERBOSE,
)


def blocks(page: Path) -> list[Block]:
    return [
        Block(found["plain"] or found["directive"], found["title"] or found["caption"] or "", found["text"])
        for found in FENCE.finditer(page.read_text())
    ]


def commands(page: Path, *, to_run: bool) -> Iterator[list[str]]:
    """The words after `nasfpn` of each line of its shell blocks, those that need something left out or alone."""
    for block in blocks(page):
        if block.language == "sh" and (not block.title) == to_run:
            for line in block.text.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words[:1] == ["nasfpn"]:
                    yield words[1:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_exists_with_its_options(page):
    root = typer.main.get_command(app)
    for words in (*commands(page, to_run=True), *commands(page, to_run=False)):
        context, command = click.Context(root), root
        rest = list(words)
        while isinstance(command, click.Group):
            name, command, rest = command.resolve_command(context, rest)
            assert command is not None, words
            context = click.Context(command, info_name=name, parent=context)
        command.make_context(words[0], rest)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_is_not_run_says_why_and_links_lead_somewhere(page):
    assert len(re.findall(r"^```\S", page.read_text(), re.MULTILINE)) == len(blocks(page))
    titles = {block.title for block in blocks(page) if block.language == "sh" and block.title}
    assert titles <= REASONS
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", prose):
        assert (page.parent / link).exists(), link


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory in which the pages' examples find what earlier commands would have left."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    neck = build_neck("nas_fpn", in_channels=(8, 16, 32), out_channels=8).eval()
    for name in ("my_neck", "neck"):
        save_exported(neck, name)
    write_python(neck, tmp_path / "neck")
    return tmp_path


QUICK = [page for page in PAGES if page.stem not in ("extending", "tune")]


@pytest.mark.parametrize("page", QUICK, ids=lambda page: page.stem)
def test_the_python_of_a_page_runs(page, place):
    names = {f"c{level}": torch.rand(1, 2**level, 256 >> level, 256 >> level) for level in (3, 4, 5)}
    torch.manual_seed(0)
    for block in blocks(page):
        if block.language == "python" and block.title not in RUN_ELSEWHERE:
            if block.title:
                (place / block.title).write_text(block.text)
            exec(compile(block.text, page.name, "exec"), names)
    for module in ("neck", "my_search", "my_training"):
        sys.modules.pop(module, None)
    if page.stem == "data":
        assert names["mine"]().data.holdout == 8
        assert names["detector"]().data == names["mine"]().data


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A directory with the files of `docs/extending.md`, and a genotype to start from."""
    home = tmp_path_factory.mktemp("project")
    for block in blocks(HOME / "docs" / "extending.md"):
        if block.language == "python":
            (home / block.title).write_text(block.text)
    (home / "start.json").write_text(known.bifpn((3, 4, 5)).to_json())
    return home


WRONG = """
import random, pytest
from controllers import RandomController
from controllers.testing import ControllerConformance

class Global(RandomController):
    def _next(self, rng):
        return super()._next(random)

class TestGlobal(ControllerConformance):
    @pytest.fixture
    def make(self):
        return Global
"""
"""A controller that draws from the global generator, and its test."""


def run_in(home: Path, *words: object) -> str:
    """Output of a Python program that is started in a directory, as a user would start it."""
    environment = {name: value for name, value in os.environ.items() if name != "NASFPN_TRUST_CODE"}
    environment |= {"XDG_CACHE_HOME": str(home / "cache")}
    command = [sys.executable, *map(str, words)]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def nasfpn(home: Path, *words: object) -> str:
    return run_in(home, "-m", "nasfpn", *words)


def test_extensions_in_files_of_ones_own_are_searched(project):
    said = nasfpn(project, "search", "my_search.py:mine", "--run-dir", "runs/centres", "--track", "my_tracker.py:Lines")
    assert "npu_ms" in said
    assert "exported to" in said
    neck = json.loads((project / "runs" / "centres" / "best" / "neck.json").read_text())
    assert neck["kind"] == "merge"
    origins = {line.split()[0] for line in (project / "runs" / "centres" / "told.txt").read_text().splitlines()}
    assert origins == {"run", "trial", "artifact"}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_such_a_search_goes_on_and_is_exported_where_only_torch_is_needed(project):
    if not (project / "runs" / "centres").exists():
        nasfpn(project, "search", "my_search.py:mine", "--run-dir", "runs/centres")
    for words in commands(HOME / "docs" / "extending.md", to_run=False):
        nasfpn(project, *words)
    assert (
        "def max_maps" in (project / "found" / "neck.py").read_text()
        or "max_maps" not in (project / "found" / "genotype.json").read_text()
    )
    code = "from neck import load_neck; print(load_neck('weights.pt'))"
    run_in(project / "found", "-c", code)


def test_a_neck_in_a_file_of_ones_own_is_built_by_name(project):
    run_in(project, "use_neck.py")


def test_extensions_pass_the_conformance_suites_by_the_files_of_the_page(project):
    files = ("test_hill_climbing.py", "test_mean_fusion.py")
    said = run_in(project, "-m", "pytest", "-p", "no:cacheprovider", "--noconftest", *files)
    assert int(re.search(r"(\d+) passed", said)[1]) >= 50
    assert "skipped" not in said


def test_a_suite_finds_a_controller_that_is_not_one(tmp_path):
    (tmp_path / "test_wrong.py").write_text(WRONG)
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--noconftest", tmp_path]
    done = subprocess.run([str(word) for word in words], cwd=HOME, capture_output=True, text=True, check=False)
    assert "test_the_global_generators_are_neither_read_nor_moved" in done.stdout
    assert "test_same_seed_same_trajectory" in done.stdout
    assert "assert [" in done.stdout, "asserts of a suite show their values"


def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("sphinx")
    words = ["-m", "sphinx", "-W", "--keep-going", "-q", "-d", tmp_path / "doctrees", "docs", tmp_path / "site"]
    done = subprocess.run([sys.executable, *map(str, words)], cwd=HOME, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site" / "reference.html").read_text()
    assert all(name in page for name in ("MergeNeck", "EvolutionController", "SearchConfig", "TrainConfig"))


def test_the_page_and_the_picture_of_the_rooms_name_each_room_and_no_other():
    rooms = rooms_of(imports_between_rooms())
    page, picture = HOME / "docs" / "house.md", HOME / "docs" / "pictures" / "rooms.svg"
    assert sorted(re.findall(r"^\| `([\w.]+)` \|", page.read_text(), re.MULTILINE)) == rooms
    assert sorted(re.findall(r">([a-z_.]+)</text>", picture.read_text())) == rooms


@pytest.fixture
def small(monkeypatch, tmp_path):
    """The experiments of the pages with settings of seconds, and data of their own in `my_data`."""
    search, train = signs.search(), signs.train()
    data = DataConfig(root="data/signs", embedded=SMALL)
    evolution = ControllerConfig(name="evolution", options={"population_size": 2, "tournament_size": 2})
    fewer = {"data": data, "proxy": replace(search.proxy, steps=12, warm_steps=2)}
    confirm = ConfirmConfig(trainings=4, found=1, known=1)
    few = replace(search, **fewer, controller=evolution, confirm=confirm, trials=5, random_trials=2)
    monkeypatch.setattr(signs, "search", lambda: few)
    monkeypatch.setattr(signs, "smoke", lambda: replace(few, name="smoke", trials=2, random_trials=1))
    monkeypatch.setattr(signs, "train", lambda: replace(train, data=data, epochs=1))
    monkeypatch.setattr("nas.commands.data.SignsConfig", lambda: SMALL)
    monkeypatch.chdir(tmp_path)
    make_signs(tmp_path / "my_data", SMALL)
    for old, new in (("train", "train2017"), ("test", "val2017")):
        (tmp_path / "my_data" / old).rename(tmp_path / "my_data" / new)
        (tmp_path / "my_data" / "annotations" / f"instances_{old}.json").rename(
            tmp_path / "my_data" / "annotations" / f"instances_{new}.json"
        )
    ultralytics(tmp_path / "my_yolo")
    scripts = [block for block in blocks(HOME / "docs" / "data.md") if block.title.endswith(".py")]
    for script in scripts:
        (tmp_path / script.title).write_text(script.text)
    assert {script.title for script in scripts} == {"my_search.py", "my_training.py"}
    return tmp_path


def test_the_conversion_of_the_data_page_runs(tmp_path, monkeypatch, in_process):
    pytest.importorskip("supervision")
    ultralytics(tmp_path / "my_yolo")
    monkeypatch.chdir(tmp_path)
    every = commands(HOME / "docs" / "data.md", to_run=True)
    (words,) = [words for words in every if words[:2] == ["data", "convert"]]
    code, shown, errors = in_process(*words)
    assert (code, errors) == (0, "")
    assert "DataConfig(root='my_coco')" in shown


def test_the_way_to_openvino_runs(tmp_path, monkeypatch, in_process):
    """Its commands and its Python find what onnxruntime finds."""
    pytest.importorskip("openvino")
    pytest.importorskip("onnxruntime")
    save_busy_detector(tmp_path / "runs" / "trained" / "model")
    monkeypatch.chdir(tmp_path)
    page = blocks(HOME / "docs" / "export.md")
    (shell,) = [block.text for block in page if block.language == "sh" and "\novc " in block.text]
    for words in map(shlex.split, shell.splitlines()):
        if words[0] == "nasfpn":
            code, _, errors = in_process(*words[1:])
            assert (code, errors) == (0, "")
        else:
            subprocess.run([Path(sys.executable).parent / words[0], *words[1:]], check=True, capture_output=True)
    (python,) = [block.text for block in page if block.title == "with_openvino.py"]
    names: dict[str, Any] = {}
    exec(compile(python, "with_openvino.py", "exec"), names)
    images = torch.from_numpy(names["images"])
    expected = read_onnx(tmp_path / "deployed" / "detector_nms.onnx")((images,))
    found = [torch.from_numpy(names[name].copy()) for name in ("boxes", "scores", "labels", "count")]
    assert min(expected[3].tolist()) > 5
    assert detections_difference(found, expected) < 1e-5


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_tuner_of_its_page_runs(small):
    names: dict[str, object] = {}
    with connected(ResourceConfig(workers=2), None):
        for block in blocks(HOME / "docs" / "tune.md"):
            if block.language == "python":
                exec(compile(block.text, "tune.md", "exec"), names)
    assert len(names["results"]) == 2
    assert not names["results"].errors
    assert isinstance(names["neck"], MergeNeck)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_command_runs(small, monkeypatch, capsys):
    """In the order of the pages, in one directory, as someone would who reads them all."""
    count = 0
    for page in PAGES:
        for words in commands(page, to_run=True):
            monkeypatch.setattr(sys, "argv", ["nasfpn", *words])
            with pytest.raises(SystemExit) as stop:
                main()
            shown = capsys.readouterr()
            assert not stop.value.code, f"{page.name}: {words}\n{shown.out[-2000:]}\n{shown.err[-2000:]}"
            count += 1
    assert count > 30
    assert json.loads((small / "my_neck" / "neck.json").read_text())["kind"] == "merge"
    assert (small / "cell.svg").is_file()
