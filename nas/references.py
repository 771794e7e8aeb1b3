"""References to Python objects in configurations; what `search_space.references` says of trust holds."""

from __future__ import annotations

import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Annotated, Any

from pydantic import BeforeValidator

from nas.configuration import ConfigError
from search_space import references
from search_space.references import BadReferenceError, is_reference, listed, reference_of, trust

__all__ = [
    "Name",
    "beside_ours",
    "call",
    "is_reference",
    "listed",
    "load_object",
    "module_of",
    "require_callable",
    "require_known",
    "trust",
]

OURS = "experiments"
"""The package of our own runs; a user's project may have one of the same name."""

Name = Annotated[str, BeforeValidator(reference_of)]
"""A name that is known here, or a reference; in Python also the class or function itself."""


def require_known(what: str, name: str, known: Iterable[str], example: str) -> None:
    """
    Args:
        what: the name is of, for the message.
        known: names that are no references.
        example: a reference.

    Raises:
        ValueError: for what is neither known nor a reference.
    """
    if name not in (names := tuple(known)) and not is_reference(name):
        listed_names = f"{'one of ' if len(names) > 1 else ''}{', '.join(names)}"
        raise ValueError(f"{what} must be {listed_names}, or a reference such as {example}, got {name!r}")


def load_object(reference: str) -> Any:
    """The attribute of a module or a file, which this process must have been told to trust.

    Workers on this machine can import what this process can. Where a project has a package `experiments` of its own,
    ours is searched after it.

    Raises:
        ConfigError: see `search_space.references.load_object`.
    """
    try:
        return references.load_object(reference, beside_ours)
    except BadReferenceError as error:
        raise ConfigError(str(error)) from error


def module_of(place: str, *, again: bool) -> ModuleType:
    """The module of that name, or of a file.

    Raises:
        ConfigError: when it is not there; what its import raises comes out as it is.
    """
    try:
        return references.module_of(place, beside_ours, again=again)
    except BadReferenceError as error:
        raise ConfigError(str(error)) from error


def call(reference: str, *args: Any, **options: Any) -> Any:
    """Call what a reference names.

    Raises:
        ConfigError: if it cannot be loaded or called, or does not take these arguments. Exceptions of the call itself
            are not changed.
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
        raise ConfigError(f"{reference} is of type {type(function).__name__}, which cannot be called")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # some callables of C have none
    try:
        signature.bind(*args, **options)
    except TypeError as error:
        raise ConfigError(f"{reference}{signature} does not take the arguments of its call: {error}") from error


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
