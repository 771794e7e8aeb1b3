"""The proxy task as a trainable of Ray Tune, which reports at rungs and continues from Tune's checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ray import tune

from nas.data.archive import absolute
from nas.detection.config import absolute_weights
from nas.engine.task import MakeTask, Task, configured_task, placed_proxy, require_references
from nas.engine.trial import Rejected, Scored
from nas.engine.worker import run_trial
from nas.proxy.trial import TrialError
from nas.references import trust
from nas.search.config import SearchConfig, code_of
from nas.tune.callbacks import TuneCallbacks
from nas.tune.results import COMPLETE, rejected, scored
from nas.tune.suggestion import COPIED, requested
from nas.workers.answers import Failed
from necks.exported import code_in
from search_space.references import look_in

NECK = "neck"
"""Directory of the exported neck in the checkpoint of a trial that ran to its end."""

Trainable = Callable[[dict[str, Any]], None]

_kept: list[tuple[SearchConfig, MakeTask, Task]] = []
"""The task of this process, which stays warm where Tune reuses actors."""


def neck_trainable(
    config: SearchConfig, make_task: MakeTask = configured_task, *, checkpoints: bool = True
) -> Trainable:
    """Trainable for a `Tuner` that trains the neck of a trial by the task of a search.

    It reads the `genotype` of a trial, as `NeckSearcher` or another search algorithm suggests it
    (`Genotype.to_dict()`), and `number`, `seed` and `channels` if they are given. It needs the CPUs and GPUs of
    `config.resources`.

    A result has the task's metrics (`AP`, ..., `params`, `macs`, `latency_ms`), costs, `reward`, `steps` and `state`:
    `training` at each of `config.stopping.rungs`, `complete` at the end. The checkpoint at a rung is the state of the
    training; a paused or restored trial continues from it to the same weights. The checkpoint at the end is the
    exported neck, in `neck/` for `necks.load_exported`. A neck over a limit is not trained: `state` is `rejected`,
    `reason` says why, and `reward` is NaN. If a training fails, the trial ends with an error.

    Paths in the configuration are relative to the directory in which this function is called. `proxy.precision=auto` is
    decided here for training on CPUs, and by each worker for training on GPUs.

    Args:
        make_task: module-level function that makes the task, once in every process.
        checkpoints: False for a task without checkpoints, or for trainings so short that starting over is cheaper.

    Raises:
        ConfigError: for references that name no task, cost or reward.
        UserError: in the trial, if its configuration has no genotype.
    """
    trust(code_of(config))
    require_references(config)
    config, directory = _placed(config), Path.cwd()

    def train_neck(trial: dict[str, Any]) -> None:
        look_in(directory)
        trust([*code_of(config), *code_in(trial.get("genotype"))])
        _train(config, make_task, trial, checkpoints)

    resources = {"cpu": config.resources.cpus, "gpu": config.resources.gpus}
    wanted: Trainable = tune.with_resources(train_neck, resources)
    return wanted


def _placed(config: SearchConfig) -> SearchConfig:
    """For processes that run in another directory, and all in one precision."""
    proxy = replace(config.proxy, backbone=absolute_weights(config.proxy.backbone))
    data = None if config.data is None else absolute(config.data)
    config = replace(config, data=data, proxy=proxy)
    if config.task.is_proxy and proxy.precision == "auto" and not config.resources.gpus:
        from nas.proxy.precision import decided

        config = replace(config, proxy=replace(proxy, precision=decided(placed_proxy(config)).precision))
    return config


def _train(config: SearchConfig, make_task: MakeTask, trial: Mapping[str, Any], checkpoints: bool) -> None:
    """
    Raises:
        TrialError: if the candidate cannot be scored.
    """
    request = requested(config, trial)
    if COPIED in trial:
        tune.report({**trial[COPIED], "steps": 0, COPIED: True})
        return
    callbacks = TuneCallbacks(config, request, checkpoints=checkpoints)
    answer = run_trial(_task(config, make_task), config, request, callbacks)
    callbacks.report_late()
    match answer:
        case Failed(error):
            raise TrialError(error)
        case Rejected(measured):
            tune.report(rejected(config, measured))
        case Scored():
            steps = int(answer.metrics.get("steps") or config.proxy.steps)
            _report(scored(config, answer.metrics, steps=steps, state=COMPLETE), answer.neck)


def _report(result: dict[str, Any], neck: Mapping[str, bytes]) -> None:
    if not neck:
        tune.report(result)
        return
    with TemporaryDirectory() as directory:
        (files := Path(directory) / NECK).mkdir()
        for name, content in neck.items():
            (files / name).write_bytes(content)
        tune.report(result, checkpoint=tune.Checkpoint.from_directory(directory))


def _task(config: SearchConfig, make_task: MakeTask) -> Task:
    for kept in _kept:
        if kept[:2] == (config, make_task):
            return kept[2]
    _kept.clear()
    task = make_task(config)
    _kept.append((config, make_task, task))
    return task
