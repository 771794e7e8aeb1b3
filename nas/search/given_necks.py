"""Necks of the user's own among those that a search starts from and compares with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from search_space import KNOWN, Genotype, GenotypeError
from search_space.files import is_there


def _plain(value: Any) -> Any:
    if isinstance(value, Genotype):
        return value.to_dict()
    try:
        return Genotype.from_dict(value).to_dict()
    except GenotypeError as error:
        raise ValueError(str(error)) from error


PlainGenotype = Annotated[dict[str, Any], BeforeValidator(_plain)]
"""A genotype as plain data (`Genotype.to_dict`); a `Genotype` is taken as well."""


def unknown_necks(names: tuple[str, ...], given: Mapping[str, object]) -> list[str]:
    """Names that are neither published nor given, in order, each once."""
    return [name for name in dict.fromkeys(names) if name not in KNOWN and name not in given]


def may_be_place(name: str) -> bool:
    """True for what may name a file, an exported neck, or a trial of a search; whether it does is for the command."""
    return any(sign in name for sign in "/.:") or is_there(Path(name))
