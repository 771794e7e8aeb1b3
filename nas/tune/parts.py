"""Arguments of a `Tuner` for a search."""

from __future__ import annotations

from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from nas.engine.task import MakeTask, configured_task
from nas.search.config import SearchConfig
from nas.tune.results import REWARD
from nas.tune.searcher import NeckSearcher
from nas.tune.trainable import neck_trainable


def tuner_parts(config: SearchConfig, make_task: MakeTask = configured_task) -> dict[str, Any]:
    """Arguments `trainable` and `tune_config` of a `Tuner` for a search: `Tuner(**tuner_parts(config))`.

    The `tune_config` has a `NeckSearcher`, `config.trials` samples, `config.resources.workers` of them at once, reused
    actors, ASHA if there are `config.stopping.rungs`, and short names of trials. Change it with `dataclasses.replace`.

    Args:
        make_task: see `neck_trainable`.

    Raises:
        ConfigError: see `NeckSearcher`.
    """
    tune_config = tune.TuneConfig(
        metric=REWARD,
        mode="max",
        search_alg=NeckSearcher(config),
        scheduler=_scheduler(config),
        num_samples=config.trials,
        max_concurrent_trials=config.resources.workers,
        reuse_actors=True,
        trial_name_creator=_name,
        trial_dirname_creator=_directory,
    )
    return {"trainable": neck_trainable(config, make_task), "tune_config": tune_config}


def _scheduler(config: SearchConfig) -> TrialScheduler | None:
    """Tune's ASHA, whose rungs are the first of ours times powers of the reduction factor."""
    rungs = [rung for rung in config.stopping.rungs if rung < config.proxy.steps]
    if not rungs:
        return None
    return ASHAScheduler(
        time_attr="steps",
        max_t=config.proxy.steps,
        grace_period=rungs[0],
        reduction_factor=config.stopping.reduction_factor,
    )


def _name(trial: Trial) -> str:
    return f"neck_{trial.config['number']:04d}"


def _directory(trial: Trial) -> str:
    """With the id: a restored run may suggest a trial once more that had begun when it was killed."""
    return f"{_name(trial)}_{trial.trial_id}"
