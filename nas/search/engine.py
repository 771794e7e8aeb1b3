"""The search itself: a plan, a journal, and Ray Tune's workers."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import ray
from ray import tune

from nas.configuration import ConfigError
from nas.errors import UserError
from nas.search.config import SearchConfig
from nas.search.journal import Journal, Trial
from nas.search.plan import Plan
from nas.search.run_directory import RunDirectory
from nas.search.searcher import PlanSearcher
from nas.search.worker import MakeTask, TrialActor, WorkerSettings, make_proxy_task

_log = logging.getLogger(__name__)

ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "MALLOC_MMAP_THRESHOLD_": "2000000000",
    "MALLOC_TRIM_THRESHOLD_": "4000000000",
}
"""Tune's own loggers import TensorBoard and torch into the driver and write four files per trial. The C library's
allocator, told to keep large buffers, makes a training step on the CPU a tenth quicker."""

QUIET = {"logging_level": logging.ERROR, "log_to_driver": False}


class InterruptedSearchError(UserError):
    """The search stopped before its end; everything finished is in the journal."""


def run_search(
    config: SearchConfig,
    run: RunDirectory,
    *,
    on_outcome: Callable[[Trial, Plan], None],
    address: str | None = None,
    make_task: MakeTask = make_proxy_task,
) -> list[Trial]:
    """Run the search to its end, or go on with it; the caller has claimed the run directory.

    Args:
        on_outcome: called in this process with each trial that finishes.
        address: of a running Ray cluster; None starts Ray on this machine and stops it afterwards.
        make_task: makes what trains candidates, once in every worker; a module-level function.

    Returns:
        All trials by number.

    Raises:
        InterruptedSearchError: when it was stopped (Ctrl-C) before the end.
        UnsatisfiedError: when too many candidates in a row are over a limit of `config.constraints`.
        DataError, BackboneError: when no candidate could be trained at all.
    """
    journal = Journal(run.journal_file, writable=True)

    def finished(trial: Trial) -> None:
        if not trial.rejected:
            prune_weights(run, config.keep_weights, journal.trials())
        on_outcome(trial, plan)

    plan = Plan(config, journal, finished)
    if plan.left:
        plan.prepare()
        settings = WorkerSettings(_with_absolute_root(config), run.trials, make_task)
        with _ray(config, address) as workers:
            make_task(settings.config)
            _log.info("%d trials at once, on Ray", workers)
            _tune(config, run, plan, settings, workers)
    if left := plan.left:
        raise InterruptedSearchError(f"stopped with {left} trials to go; run the same command again to go on")
    return journal.trials()


def prune_weights(run: RunDirectory, keep: int, trials: list[Trial]) -> None:
    """Delete the weights of finished candidates that are neither among the `keep` best nor known necks."""
    finished = [trial for trial in trials if trial.state != "running" and trial.copied_from is None]
    found = [trial for trial in finished if not trial.candidate.is_known]
    found.sort(key=lambda trial: (trial.reward is not None, trial.reward, -trial.number), reverse=True)
    spent = {run.trial(trial.number) for trial in found[keep:]}
    if run.trials.is_dir():
        for path in spent & set(run.trials.iterdir()):
            shutil.rmtree(path)


@contextmanager
def _ray(config: SearchConfig, address: str | None) -> Iterator[int]:
    """Ray for the time of the search, or the one that is running in this process already.

    Gives the number of trials that run at once. Workers on this machine import from where this process does.
    """
    settings = {
        **ENVIRONMENT,
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
        "RAY_AUTH_MODE": os.environ.get("RAY_AUTH_MODE", "disabled"),
    }
    ours = not ray.is_initialized()
    with _environment(settings):
        if ours and address is None:
            ray.init("local", num_cpus=_local_cpus(config), include_dashboard=False, **QUIET)
        elif ours:
            _connect(address)
        try:
            yield _slots(config, ray.cluster_resources())
        finally:
            if ours:
                ray.shutdown()


@contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _local_cpus(config: SearchConfig) -> int:
    wanted = (config.resources.workers or 0) * config.resources.cpus
    return max(os.cpu_count() or 1, round(wanted))


def _connect(address: str | None) -> None:
    try:
        ray.init(address, **QUIET)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(f"no Ray cluster at {address!r} ({error}); start one, or leave --address out") from error


def _slots(config: SearchConfig, available: dict[str, float]) -> int:
    """Trials that fit at once, at most as many as were asked for."""
    wanted = config.resources
    slots = available.get("CPU", 0) // wanted.cpus
    if wanted.gpus:
        slots = min(slots, available.get("GPU", 0) // wanted.gpus)
    if slots < 1:
        raise ConfigError(
            f"one trial needs {wanted.cpus:g} CPUs and {wanted.gpus:g} GPUs, Ray has {available.get('CPU', 0):g} and "
            f"{available.get('GPU', 0):g}; lower resources.cpus or resources.gpus"
        )
    return min(int(slots), wanted.workers or int(slots))


def _with_absolute_root(config: SearchConfig) -> SearchConfig:
    """Workers may run in another directory."""
    return replace(config, data=replace(config.data, root=str(Path(config.data.root).resolve())))


def _tune(config: SearchConfig, run: RunDirectory, plan: Plan, settings: WorkerSettings, workers: int) -> None:
    """Run Tune over the plan. Always a new Tuner: Tune's own restore repeats and loses trials."""
    searcher = PlanSearcher(plan)
    shutil.rmtree(run.ray, ignore_errors=True)
    resources = {"cpu": config.resources.cpus, "gpu": config.resources.gpus}
    trainable = tune.with_resources(tune.with_parameters(TrialActor, settings=settings), resources)
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            num_samples=-1,
            max_concurrent_trials=workers,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name=run.ray.name,
            storage_path=str(run.path),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=config.resources.max_retries),
        ),
    )
    tuner.fit()
    shutil.rmtree(run.ray, ignore_errors=True)
    if searcher.crash is not None:
        raise searcher.crash
