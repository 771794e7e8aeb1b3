"""Necks that a proxy task is judged by."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from nas.configuration import ConfigError
from nas.search.config import SearchConfig, build_space
from search_space import KNOWN, Genotype, GenotypeError, SearchSpace

KNOWN_GROUP, RANDOM_GROUP = "known", "random"
MAX_DRAWS = 1000


@dataclass(frozen=True)
class NamedNeck:
    """
    Args:
        topology: a genotype, or a name of `necks.NECKS`.
    """

    label: str
    group: str
    topology: Genotype | str


def diverse_necks(config: SearchConfig, count: int, spaces: Sequence[SearchSpace] = ()) -> list[NamedNeck]:
    """Every known neck that the pyramid's levels allow, then random ones, all different.

    Args:
        count: of all together.
        spaces: to draw from in turn; by default that of the search alone.

    Raises:
        ConfigError: if the known necks are more than that, or the spaces have too few.
    """
    levels = config.proxy.neck.levels
    found: dict[str, NamedNeck] = {}
    for name, make in KNOWN.items():
        try:
            genotype = make(levels)
        except GenotypeError:
            continue
        found.setdefault(genotype.fingerprint, NamedNeck(name, KNOWN_GROUP, genotype))
    if count < len(found):
        raise ConfigError(f"the known necks alone are {len(found)}; ask for at least that many, got {count}")
    spaces = spaces or (build_space(config),)
    rng = random.Random(config.seed)
    for draw in range(MAX_DRAWS):
        if len(found) == count:
            return list(found.values())
        genotype = spaces[draw % len(spaces)].sample(rng)
        label = f"random {sum(neck.group == RANDOM_GROUP for neck in found.values()) + 1}"
        found.setdefault(genotype.fingerprint, NamedNeck(label, RANDOM_GROUP, genotype))
    raise ConfigError(f"{MAX_DRAWS} draws from the search space gave {len(found)} different necks, not {count}")
