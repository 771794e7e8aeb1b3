"""Necks that a configuration names by a file, an export or a trial, read once when a search starts."""

from __future__ import annotations

from dataclasses import replace

from nas.commands.find_neck import find_neck
from nas.configuration import ConfigError
from nas.errors import UserError
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
    return replace(config, necks={**config.necks, **{name: _genotype(name).to_dict() for name in names}})


def _genotype(name: str) -> Genotype:
    try:
        topology = find_neck(name).topology
    except UserError as error:
        raise ConfigError(f"known and controller.initial: {error}") from error
    if not isinstance(topology, Genotype):
        raise ConfigError(
            f"known and controller.initial: {name} is no graph of merge cells, which a search needs to build it at its "
            "own width; compare with it after the search"
        )
    return topology
