"""References to Python objects, `module:attribute` or `file.py:attribute`: code, which must be trusted first.

A reference may stand in a file that somebody else wrote. So none is loaded before this process was told to trust it:
by the command line, by the program, or by an object that the program already has.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from search_space.files import is_there

VARIABLE = "NASFPN_TRUST_CODE"
"""Environment variable that, set to 1, trusts all references."""
MAX_REFERENCE = 300
"""Characters."""

_REFERENCE = re.compile(r"[^:\s]+:[A-Za-z_]\w*")
_trusted: set[str] = set()
_places: list[Path] = []
"""Directories in which relative references are looked for, before the current one."""
_file_directories: set[Path] = set()
"""Of the files that were loaded; modules in them are referred to by their files."""


class BadReferenceError(ValueError):
    """A reference that leads nowhere, or that nobody said to trust."""


def is_reference(name: object) -> bool:
    """True for text of the form `module:attribute` or `file.py:attribute`."""
    return isinstance(name, str) and len(name) <= MAX_REFERENCE and _REFERENCE.fullmatch(name) is not None


def trust(names: Iterable[str]) -> None:
    """Allow this process to load and run what these references name; other names are ignored."""
    _trusted.update(name for name in names if is_reference(name))


def is_trusted(name: str) -> bool:
    return name in _trusted or os.environ.get(VARIABLE) == "1"


def look_in(directory: Path) -> None:
    """Look for files and modules in this directory before the current one, which in a worker may be another."""
    if directory.is_dir() and directory not in _places:
        _places.insert(0, directory)


def reference_of(value: Any) -> Any:
    """The reference of a class or function, which is trusted from now on; text stays as it is.

    An object of a file that was loaded as `file.py:attribute`, of a module beside such a file, or of the program itself
    is referred to by its file, as seen from the current directory.

    Raises:
        BadReferenceError: for objects that another process cannot import.
    """
    if isinstance(value, str):
        return value
    name = getattr(value, "__qualname__", "")
    module = sys.modules.get(getattr(value, "__module__", None) or "")
    if not name.isidentifier() or module is None or getattr(module, name, None) is not value:
        raise BadReferenceError(
            "must be a name, a reference such as my_module:attribute or my_file.py:attribute, or a class or function "
            f"at the top of a module, so that other processes can import it; got {value!r:.100}"
        )
    reference = f"{_place(module)}:{name}"
    trust([reference])
    return reference


def load_object(reference: str, around: Callable[[Callable[[], Any]], Any] = lambda load: load()) -> Any:
    """The attribute of a module or a file.

    Files can import the modules beside them, and modules those of the current directory.

    Args:
        around: calls the import that it is given.

    Raises:
        BadReferenceError: when the reference is not trusted, when module, file or attribute are not there, or when the
            import fails.
    """
    if not is_reference(reference):
        raise BadReferenceError(f"{reference!r:.100} is not a reference: write module:attribute or file.py:attribute")
    if not is_trusted(reference):
        raise BadReferenceError(
            f"{reference} names code that is not trusted; if you trust it, set {VARIABLE}=1, or "
            f'in Python call search_space.references.trust(["{reference}"])'
        )
    place, _, name = reference.rpartition(":")
    try:
        module = module_of(place, around, again=False)
    except BadReferenceError:
        raise
    except Exception as error:
        raise BadReferenceError(f"{reference} cannot be loaded: {type(error).__name__}: {error}") from error
    if not hasattr(module, name):
        raise BadReferenceError(f"{place} has no {name!r}; it has {listed(module)}")
    return getattr(module, name)


def module_of(
    place: str, around: Callable[[Callable[[], Any]], Any] = lambda load: load(), *, again: bool
) -> ModuleType:
    """The module of that name, or of a file.

    Args:
        around: calls the import that it is given.
        again: whether to load a file once more that was loaded already.

    Raises:
        BadReferenceError: when it is not there; what its import raises comes out as it is.
    """
    return _load_file(Path(place), around, again=again) if place.endswith(".py") else _load_module(place, around)


def listed(module: ModuleType) -> str:
    """Names of a module's own classes and functions, for messages."""
    own = [name for name, value in vars(module).items() if callable(value) and _is_own(module, value)]
    return ", ".join(sorted(own)) or "none"


def _is_own(module: ModuleType, value: Any) -> bool:
    return getattr(value, "__module__", None) == module.__name__ and not value.__name__.startswith("_")


def _load_module(name: str, around: Callable[[Callable[[], Any]], Any]) -> Any:
    for place in reversed((*_places, Path.cwd())):
        _import_from(place)
    try:
        return around(lambda: importlib.import_module(name))
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise
        raise BadReferenceError(
            f"no module {name!r}; give module:attribute, installed or in this directory, or file.py:attribute"
        ) from error


def _load_file(path: Path, around: Callable[[Callable[[], Any]], Any], *, again: bool) -> ModuleType:
    path = next((place / path for place in _places if is_there(place / path)), path)
    if not is_there(path):
        raise BadReferenceError(f"no file {path}; give file.py:attribute or module:attribute")
    loaded = sys.modules.get(path.stem)
    if not again and loaded is not None and _file_of(loaded) == path.resolve():
        return loaded
    _import_from(path.resolve().parent)
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    assert spec is not None
    assert spec.loader is not None
    loader, module = spec.loader, importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    _file_directories.add(path.resolve().parent)
    try:
        around(lambda: loader.exec_module(module))
    except BaseException:
        del sys.modules[path.stem]
        raise
    return module


def _place(module: ModuleType) -> str:
    file = _file_of(module)
    beside = file is not None and "." not in module.__name__ and file.parent in _file_directories
    if file is None or not (module.__name__ == "__main__" or beside):
        return module.__name__
    relative = os.path.relpath(file)
    return str(file) if relative.startswith("..") else relative


def _file_of(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    return None if file is None else Path(file).resolve()


def _import_from(directory: Path) -> None:
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))
