"""README and docs: every command parses, every example runs, every extension works; marked slow: every command runs."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import click
import pytest
import torch
import typer

from experiments import signs
from experiments.rooms import imports_between_rooms, rooms_of
from nas.data.config import DataConfig, SignsConfig
from nas.data.signs import make_signs
from nas.export.python_file import write_python
from nas.search.config import ControllerConfig, ResourceConfig
from nas.search.confirmation import ConfirmConfig
from nas.workers.ray_session import connected
from nasfpn.command import app, main
from necks import MergeNeck, build_neck, save_exported

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
PACKAGES = ("search_space", "necks", "controllers", "nas", "experiments", "nasfpn", "tests")
REASONS = {"needs a cluster", "needs COCO", "needs weights", "needs your data", "run by hand"}
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
        if block.language == "python":
            if block.title:
                (place / block.title).write_text(block.text)
            exec(compile(block.text, page.name, "exec"), names)
    for module in ("neck", "my_search", "my_training"):
        sys.modules.pop(module, None)
    if page.stem == "data":
        assert names["mine"]().data.holdout == 8
        assert names["detector"]().data == names["mine"]().data


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the project with the diffs of `docs/extending.md` applied, and those diffs."""
    home = tmp_path_factory.mktemp("extended")
    for package in PACKAGES:
        shutil.copytree(HOME / package, home / package, ignore=shutil.ignore_patterns("__pycache__", "results"))
    shutil.copy(HOME / "pyproject.toml", home)
    shutil.copytree(HOME / "nas" / "results", home / "nas" / "results", dirs_exist_ok=True)
    diffs = [block.text for block in blocks(HOME / "docs" / "extending.md") if block.language == "diff"]
    for diff in diffs:
        subprocess.run(["git", "apply", "-"], cwd=home, input=diff, text=True, check=True)
    return home, diffs


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


def in_copy(home: Path, *words: object) -> str:
    command = [sys.executable, *map(str, words)]
    environment = {"PYTHONPATH": str(home), "PATH": "/usr/bin:/bin", "HOME": str(home)}
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_extension_is_two_files_at_most(extended):
    _, diffs = extended
    assert len(diffs) == 3
    assert all(diff.count("diff --git") <= 2 for diff in diffs)


def test_extensions_work_as_the_page_says(extended):
    home, _ = extended
    untitled = [block for block in blocks(HOME / "docs" / "extending.md") if not block.title]
    examples = [block.text for block in untitled if block.language == "python"]
    assert len(examples) == 3
    check = """
import necks
from pathlib import Path
from nas.export.python_file import write_python
from nas.drawing.architecture import architecture
from nas.results.compare import cell_lines
assert Path(necks.__file__).is_relative_to(Path.cwd()), necks.__file__
assert "max" in {cell.merge for cell in genotype.cells}
Path("file").mkdir()
write_python(neck.eval(), Path("file"))
spaces = {}
exec(Path("file/neck.py").read_text(), spaces)
maps = {f"c{level}": torch.rand(1, 2**level, 256 >> level, 256 >> level) for level in (3, 4, 5)}
for name, x in spaces["load_neck"]("file/weights.pt").eval()(maps).items():
    assert torch.equal(x, neck(maps)[name])
architecture(genotype).savefig("cell.png")
print(cell_lines(genotype))
"""
    assert "max(" in in_copy(home, "-c", examples[0] + check)
    assert "best reward" in in_copy(home, "-c", examples[1])
    in_copy(home, "-c", examples[2])


def test_extensions_pass_the_conformance_suites_by_the_files_of_the_page(extended):
    home, _ = extended
    files = {block.title: block.text for block in blocks(HOME / "docs" / "extending.md") if block.title}
    assert set(files) == {"test_hill_climbing.py", "test_mean_fusion.py"}
    for name, text in files.items():
        (home / name).write_text(text)
    said = in_copy(home, "-m", "pytest", "-p", "no:cacheprovider", "--noconftest", *files)
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
    fewer = {"data": data, "proxy": replace(search.proxy, steps=12, warm_steps=2), "known": ("fpn", "nas_fpn")}
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
    scripts = [block for block in blocks(HOME / "docs" / "data.md") if block.title.endswith(".py")]
    for script in scripts:
        (tmp_path / script.title).write_text(script.text)
    assert {script.title for script in scripts} == {"my_search.py", "my_training.py"}
    return tmp_path


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
