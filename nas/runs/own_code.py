"""Code of the user that a run directory names: run only where the user started that search, or says so.

A run directory may come from somebody else. So what its configuration names is trusted if the search was started with
these very names by this user in this directory, which is remembered in the user's cache, or if `NASFPN_TRUST_CODE=1`.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from nas.configuration import ConfigError
from nas.errors import UserError
from nas.references import is_reference, trust
from nas.runs.run_directory import RunDirectory
from nas.search.config import SearchConfig, build_space, code_of
from search_space.caches import cache_path
from search_space.references import VARIABLE, is_trusted


class UntrustedError(UserError):
    """A run directory names code that this user has not been seen to use."""


def trust_code(config: SearchConfig) -> None:
    """For a configuration that the user gave."""
    trust(code_of(config))


def remember_code(run: RunDirectory, config: SearchConfig) -> None:
    """The user started this search with the code that its configuration names."""
    if code_of(config):
        try:
            place = _place(run, config)
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            place.touch()
        except OSError:
            return  # the user is asked to say so, then


def trusts_code(run: RunDirectory, config: SearchConfig) -> bool:
    """Trust what the configuration of a run directory names, if that is the user's; true without any such name, too."""
    names = code_of(config)
    if all(map(is_trusted, names)) or _place(run, config).is_file():
        trust(names)
        _trust_merges(config)
        return True
    return False


def _trust_merges(config: SearchConfig) -> None:
    """A space by reference trusts the functions that it takes as merges while it is made."""
    if is_reference(config.space.name):
        with suppress(ConfigError):
            build_space(config)


def require_trusted_code(run: RunDirectory, config: SearchConfig) -> None:
    """
    Raises:
        UntrustedError: if the search was not started by this user in this directory.
    """
    if not trusts_code(run, config):
        raise UntrustedError(
            f"{run.path} names code that this needs to run ({', '.join(code_of(config))}), and the search was not "
            f"started by you in this directory; if you trust that code, set {VARIABLE}=1"
        )


def _place(run: RunDirectory, config: SearchConfig) -> Path:
    identity = json.dumps([str(run.path), run.study(), list(code_of(config))])
    return cache_path("own_code", identity, run.path.name)
