"""Configuration of a Tune trial: a suggestion as plain data for JSON, and its way back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nas.engine.trial import TrialRequest, trial_seed
from nas.errors import UserError
from nas.search.config import SearchConfig
from nas.search.records import SEARCH, Candidate
from search_space import Genotype, GenotypeError

COPIED = "copied"
"""Key of the result that a trial shares, being the same function as an earlier one."""


def suggestion(config: SearchConfig, candidate: Candidate, number: int) -> dict[str, Any]:
    """`genotype`, `number` and `seed` of a trial, and `channels` of its neck where they are not the proxy task's."""
    width = {} if candidate.channels is None else {"channels": candidate.channels}
    return {
        "genotype": candidate.genotype.to_dict(),
        "number": number,
        "seed": trial_seed(config, number),
        **width,
    }


def requested(config: SearchConfig, trial: Mapping[str, Any]) -> TrialRequest:
    """The trial that a configuration asks for; only `genotype` must be there.

    Raises:
        UserError: if there is no genotype, or none that can be read.
    """
    if "genotype" not in trial:
        raise UserError(
            "a trial's configuration needs a genotype, this one has "
            f"{', '.join(map(str, trial)) or 'nothing'}; set search_alg=NeckSearcher(config), or put "
            "Genotype.to_dict() under 'genotype' in param_space"
        )
    try:
        genotype = Genotype.from_dict(trial["genotype"])
    except GenotypeError as error:
        raise UserError(f"the genotype of a trial's configuration: {error}") from error
    number = int(trial.get("number", 0))
    candidate = Candidate(origin=SEARCH, genotype=genotype, channels=trial.get("channels"))
    return TrialRequest(number=number, candidate=candidate, seed=int(trial.get("seed", trial_seed(config, number))))
