"""References to Python objects: `module:attribute` or `file.py:attribute`, loaded where they are needed."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import pkgutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

from pydantic import BeforeValidator

from nas.configuration import ConfigError
from search_space.files import is_there

OURS = "experiments"
"""The package of our own runs; a user's project may have one of the same name."""


def reference_of(value: Any) -> Any:
    """The reference of a class or function; text stays as it is.

    An object of a file that was loaded as `file.py:attribute`, of a module beside such a file, or of the program itself
    is referred to by its file, as seen from the current directory.

    Raises:
        ValueError: for objects that another process cannot import.
    """
    if isinstance(value, str):
        return value
    name = getattr(value, "__qualname__", "")
    module = sys.modules.get(getattr(value, "__module__", None) or "")
    if not name.isidentifier() or module is None or getattr(module, name, None) is not value:
        raise ValueError(
            "must be a name, a reference such as my_module:attribute or my_file.py:attribute, or a class or function "
            f"at the top of a module, so that other processes can import it; got {value!r:.100}"
        )
    return f"{_place(module)}:{name}"


Name = Annotated[str, BeforeValidator(reference_of)]
"""A name that is known here, or a reference; in Python also the class or function itself."""


def is_reference(name: str) -> bool:
    """True for what names an object of a module or a file; names that are known here have no colon."""
    return ":" in name


def load_object(reference: str) -> Any:
    """The attribute of a module or a file.

    Files can import the modules beside them, and modules those of the current directory; workers on this machine can
    then, too. Where a project has a package `experiments` of its own, ours is searched after it.

    Raises:
        ConfigError: when the module, file or attribute is not there, or its import fails.
    """
    place, colon, name = reference.rpartition(":")
    if not (colon and place and name):
        raise ConfigError(f"{reference!r} is no reference: write module:attribute or file.py:attribute")
    try:
        module = module_of(place, again=False)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"{reference} cannot be loaded: {type(error).__name__}: {error}") from error
    if not hasattr(module, name):
        raise ConfigError(f"{place} has no {name!r}; it has {listed(module)}")
    return getattr(module, name)


def call(reference: str, *args: Any, **options: Any) -> Any:
    """Call what a reference names.

    Raises:
        ConfigError: when it cannot be loaded, or is nothing to call, or does not take these arguments; what the call
            itself raises comes out as it is.
    """
    function = load_object(reference)
    require_callable(reference, function, *args, **options)
    return function(*args, **options)


def require_callable(reference: str, function: Any, *args: Any, **options: Any) -> None:
    """
    Raises:
        ConfigError: if it cannot be called with these arguments.
    """
    if not callable(function):
        raise ConfigError(f"{reference} is of type {type(function).__name__}, nothing to call")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # some callables of C have none
    try:
        signature.bind(*args, **options)
    except TypeError as error:
        raise ConfigError(f"{reference}{signature} does not take what it is given: {error}") from error


def absolute_reference(name: str) -> str:
    """A reference to a file by its absolute path, for processes in other directories; other names as they are."""
    place, colon, attribute = name.rpartition(":")
    if not colon or not place.endswith(".py") or not is_there(Path(place)):
        return name
    return f"{Path(place).resolve()}:{attribute}"


def module_of(place: str, *, again: bool) -> ModuleType:
    """The module of that name, or of a file.

    Args:
        again: whether to load a file once more that was loaded already.

    Raises:
        ConfigError: when it is not there; what its import raises comes out as it is.
    """
    return _load_file(Path(place), again=again) if place.endswith(".py") else _load_module(place)


def beside_ours(load: Callable[[], Any]) -> Any:
    """Call `load`; where the user's package `experiments` lacks a module, search ours too and call `load` again."""
    try:
        return load()
    except ImportError as error:
        theirs = sys.modules.get(OURS)
        if theirs is None or (error.name or "").partition(".")[0] != OURS:
            raise
        theirs.__path__ = pkgutil.extend_path(theirs.__path__, OURS)
        return load()


def listed(module: ModuleType) -> str:
    """Names of a module's own classes and functions, for messages."""
    own = [name for name, value in vars(module).items() if callable(value) and _is_own(module, value)]
    return ", ".join(sorted(own)) or "none"


def _is_own(module: ModuleType, value: Any) -> bool:
    return getattr(value, "__module__", None) == module.__name__ and not value.__name__.startswith("_")


def _load_module(name: str) -> Any:
    _import_from(Path.cwd())
    try:
        return beside_ours(lambda: importlib.import_module(name))
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise
        raise ConfigError(
            f"no module {name!r}; give module:attribute, installed or in this directory, or file.py:attribute"
        ) from error


def _load_file(path: Path, *, again: bool) -> ModuleType:
    if not is_there(path):
        raise ConfigError(f"no file {path}; give file.py:attribute or module:attribute")
    loaded = sys.modules.get(path.stem)
    if not again and loaded is not None and _file_of(loaded) == path.resolve():
        return loaded
    _import_from(path.resolve().parent)
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    _FILES.add(path.resolve().parent)
    try:
        beside_ours(partial(spec.loader.exec_module, module))
    except BaseException:
        del sys.modules[path.stem]
        raise
    return module


_FILES: set[Path] = set()
"""Directories of the files that were loaded; modules in them are referred to by their files."""


def _place(module: ModuleType) -> str:
    file = _file_of(module)
    if file is None or not (module.__name__ == "__main__" or ("." not in module.__name__ and file.parent in _FILES)):
        return module.__name__
    relative = os.path.relpath(file)
    return str(file) if relative.startswith("..") else relative


def _file_of(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    return None if file is None else Path(file).resolve()


def _import_from(directory: Path) -> None:
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))
