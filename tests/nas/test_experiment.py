"""Experiments by name: modules, files, what lies beside them, and a project that has a package `experiments` itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from experiments import signs
from nas.configuration import ConfigError
from nas.experiment import load_experiment

MINE = "from experiments.signs import smoke\ndef mine():\n    return smoke()\n"
OTHER_IMPORT = "from experiments import signs\ndef mine():\n    return signs.smoke()\n"
LATE_IMPORT = "def mine():\n    from experiments.signs import smoke\n    return smoke()\n"


def loaded(directory: Path, name: str) -> str:
    """Name of the search that an experiment is, as a process started in `directory` finds it; else its error."""
    code = f"from nas.experiment import load_experiment; print(load_experiment({name!r}).name)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=directory, capture_output=True, text=True, timeout=100, check=False
    )
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


def own_package(directory: Path, *, regular: bool) -> None:
    """A project's own `experiments`, with or without an `__init__.py`."""
    (directory / "experiments").mkdir()
    (directory / "experiments" / "theirs.py").write_text(MINE)
    if regular:
        (directory / "experiments" / "__init__.py").touch()


def test_experiments_are_found_in_modules_files_and_the_working_directory(tmp_path, monkeypatch):
    text = "from experiments import signs\ndef mine():\n    return signs.smoke()\n"
    (tmp_path / "my_own_search.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert load_experiment("experiments.signs:smoke") == signs.smoke()
    assert load_experiment("my_own_search:mine") == signs.smoke()
    assert load_experiment(f"{tmp_path}/my_own_search.py:mine") == signs.smoke()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("experiments.signs", "module:function or file.py:function"),
        ("experiments.signs:serch", "no function 'serch'; it has .*search, smoke"),
        ("experiments.sings:search", "no module 'experiments.sings'"),
        ("nowhere.py:search", "no file nowhere.py"),
    ],
)
def test_experiments_that_are_not_there_say_what_is(name, message):
    with pytest.raises(ConfigError, match=message):
        load_experiment(name)


def test_an_experiment_whose_own_import_fails_shows_that_error(tmp_path, monkeypatch):
    (tmp_path / "broken_search.py").write_text("import no_such_package\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        load_experiment("broken_search:mine")


def test_a_file_imports_the_modules_beside_it(tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    (project / "my_settings.py").write_text("STEPS = 7\n")
    (project / "my_search.py").write_text("from my_settings import STEPS\n" + MINE)
    assert loaded(tmp_path, "project/my_search.py:mine") == "signs-smoke"


@pytest.mark.parametrize("regular", [True, False])
@pytest.mark.parametrize("text", [MINE, OTHER_IMPORT, LATE_IMPORT])
@pytest.mark.parametrize("name", ["my_search:mine", "my_search.py:mine"])
def test_a_projects_own_package_experiments_does_not_hide_ours(name, text, regular, tmp_path):
    own_package(tmp_path, regular=regular)
    (tmp_path / "my_search.py").write_text(text)
    assert loaded(tmp_path, name) == "signs-smoke"


@pytest.mark.parametrize("regular", [True, False])
@pytest.mark.parametrize("name", ["experiments.theirs:mine", "experiments.signs:smoke", "nasfpn.signs:smoke"])
def test_both_packages_are_found_by_name(name, regular, tmp_path):
    own_package(tmp_path, regular=regular)
    assert loaded(tmp_path, name) == "signs-smoke"


def test_what_neither_package_has_is_said_in_one_line(tmp_path):
    own_package(tmp_path, regular=True)
    assert "ConfigError: no module 'experiments.nothing'" in loaded(tmp_path, "experiments.nothing:search")


def test_our_runs_have_a_name_that_nobodys_project_has():
    assert load_experiment("nasfpn.signs:smoke") == signs.smoke()
    assert load_experiment("nasfpn.coco:search").name == load_experiment("experiments.coco:search").name
