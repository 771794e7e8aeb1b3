"""Experiments by name: the configuration that a function of a module or of a file returns."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from nas.configuration import ConfigError, explained
from nas.references import beside_ours, listed, module_of


def load_experiment(name: str) -> Any:
    """The configuration that `module:function` or `file.py:function` returns; see `load_object` on what they import.

    Raises:
        ConfigError: when the module, file or function is not there.
    """
    place, colon, function = name.rpartition(":")
    if not colon:
        raise ConfigError(f"an experiment is module:function or file.py:function, got {name!r}")
    module = module_of(place, again=True)
    if not callable(getattr(module, function, None)):
        raise ConfigError(f"{place} has no function {function!r}; it has {listed(module)}")
    try:
        return beside_ours(getattr(module, function))
    except ValidationError as error:
        raise ConfigError(f"{name}: {explained(None, error)}") from error
