"""Necks that a configuration names by a file, an export, a trial or a reference, read once when a search starts."""

from __future__ import annotations

from dataclasses import replace

from nas.commands.find_neck import find_neck
from nas.configuration import ConfigError
from nas.errors import UserError
from nas.references import call, is_reference, load_object, trust
from nas.search.config import SearchConfig
from nas.search.given_necks import unknown_necks
from search_space import Genotype


def with_given_necks(config: SearchConfig) -> SearchConfig:
    """The configuration with the genotypes of all such necks in `necks`, so that it needs those files no more.

    Raises:
        ConfigError: for a name that is nothing, or a neck that is no graph of merge cells.
    """
    names = unknown_necks((*config.known, *config.controller.initial), config.necks)
    if not names:
        return config
    return replace(
        config, necks={**config.necks, **{name: _genotype(name, config.proxy.neck.levels).to_dict() for name in names}}
    )


def _genotype(name: str, levels: tuple[int, ...]) -> Genotype:
    if is_reference(name):
        return _by_reference(name, levels)
    try:
        topology = find_neck(name).topology
    except UserError as error:
        raise ConfigError(f"known and controller.initial: {error}") from error
    if not isinstance(topology, Genotype):
        raise ConfigError(
            f"known and controller.initial: {name} is not made of merge cells, which a search needs to build it at its "
            "own width; compare with it after the search"
        )
    return topology


def _by_reference(name: str, levels: tuple[int, ...]) -> Genotype:
    """A genotype of a module, or what a function of the levels makes."""
    trust([name])
    found = load_object(name)
    genotype = found if isinstance(found, Genotype) else call(name, levels)
    if not isinstance(genotype, Genotype):
        raise ConfigError(
            f"known and controller.initial: {name} must be a Genotype or make one from the levels, it made a "
            f"{type(genotype).__name__}"
        )
    return genotype
