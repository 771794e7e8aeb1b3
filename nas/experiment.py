"""Experiments by name: the configuration that a function of a module or of a file returns."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from nas.configuration import ConfigError, explained
from search_space.files import is_there

OURS = "experiments"
"""The package of our own runs; a user's project may have one of the same name."""


def load_experiment(name: str) -> Any:
    """The configuration that `module:function` or `file.py:function` returns.

    A file can import the modules beside it, and a module those of the current directory; workers on this machine can
    then, too. Where a project has a package `experiments` of its own, ours is searched after it.

    Raises:
        ConfigError: when the module, file or function is not there.
    """
    place, colon, function = name.rpartition(":")
    if not colon:
        raise ConfigError(f"an experiment is module:function or file.py:function, got {name!r}")
    module = _load_file(Path(place)) if place.endswith(".py") else _load_module(place)
    if not callable(getattr(module, function, None)):
        available = [key for key, value in vars(module).items() if callable(value) and _is_own(module, value)]
        raise ConfigError(f"{place} has no function {function!r}; it has {', '.join(sorted(available)) or 'none'}")
    try:
        return _beside_ours(getattr(module, function))
    except ValidationError as error:
        raise ConfigError(f"{name}: {explained(None, error)}") from error


def _is_own(module: Any, value: Any) -> bool:
    return getattr(value, "__module__", None) == module.__name__ and not value.__name__.startswith("_")


def _beside_ours(load: Callable[[], Any]) -> Any:
    """Call `load`; where the user's package `experiments` lacks a module, search ours too and call `load` again."""
    try:
        return load()
    except ImportError as error:
        theirs = sys.modules.get(OURS)
        if theirs is None or (error.name or "").partition(".")[0] != OURS:
            raise
        theirs.__path__ = pkgutil.extend_path(theirs.__path__, OURS)
        return load()


def _load_module(name: str) -> Any:
    _import_from(Path.cwd())
    try:
        return _beside_ours(lambda: importlib.import_module(name))
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise
        raise ConfigError(
            f"no module {name!r}; give module:function, installed or in this directory, or file.py:function"
        ) from error


def _load_file(path: Path) -> ModuleType:
    if not is_there(path):
        raise ConfigError(f"no file {path}; give file.py:function or module:function")
    _import_from(path.resolve().parent)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    _beside_ours(partial(spec.loader.exec_module, module))
    return module


def _import_from(directory: Path) -> None:
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))
