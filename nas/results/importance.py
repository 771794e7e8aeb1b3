"""Importance of the search space's decisions for the reward, by Optuna's random forest."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution

from nas.search.config import SearchConfig, build_space, code_of
from nas.search.records import Trial
from nas.search.standings import scored
from search_space.references import is_trusted

LEAST_TRIALS = 10
"""Fewer say nothing of some dozens of decisions."""


def importances(config: SearchConfig, trials: Sequence[Trial]) -> dict[str, float]:
    """Share of each decision that all scored candidates made, the largest first; they sum to 1.

    Empty for fewer than `LEAST_TRIALS` candidates, for equal rewards, without scikit-learn, which Optuna's forest
    needs, and where the configuration names code that is not trusted.
    """
    chosen = [trial for trial in scored(trials) if trial.candidate.choices and trial.copied_from is None]
    varied = len({trial.reward for trial in chosen}) > 1
    able = importlib.util.find_spec("sklearn") is not None and all(map(is_trusted, code_of(config)))
    if len(chosen) < LEAST_TRIALS or not varied or not able:
        return {}
    from optuna.importance import MeanDecreaseImpurityImportanceEvaluator, get_param_importances  # seconds of imports

    fixed: dict[str, BaseDistribution] = {
        name: CategoricalDistribution([choice for choice in choices if choice is not None])
        for name, choices in build_space(config).decisions().items()
    }
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    study.add_trials([_frozen(trial, fixed) for trial in chosen])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        evaluator = MeanDecreaseImpurityImportanceEvaluator(seed=0)
        return {name: float(share) for name, share in get_param_importances(study, evaluator=evaluator).items()}


def _frozen(trial: Trial, fixed: dict[str, BaseDistribution]) -> optuna.trial.FrozenTrial:
    choices = dict(trial.candidate.choices)
    return optuna.create_trial(
        params=choices, distributions={name: fixed[name] for name in choices}, value=trial.reward
    )
