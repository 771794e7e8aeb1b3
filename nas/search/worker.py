"""One trial at a time in a Ray worker that stays warm between trials."""

from __future__ import annotations

import gc
import json
import logging
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from ray import tune

from nas.proxy.trial import Trained, TrialError
from nas.search.config import SearchConfig
from nas.search.constraints import Measured, RejectedError, violations
from nas.search.reward import RewardError, reward_of
from necks import save_exported
from search_space import Genotype


class Task(Protocol):
    """What trains and scores a candidate; made once per worker."""

    def run(self, genotype: Genotype, seed: int, before_training: Callable[[Measured], None] | None = None) -> Trained:
        """
        Args:
            before_training: called with `params`, `macs` and `latency_ms` of the neck; what it raises ends the trial.

        Raises:
            TrialError: when this candidate cannot be scored; any other exception is a failed trial, too.
        """
        ...


MakeTask = Callable[[SearchConfig], Task]


def make_proxy_task(config: SearchConfig) -> Task:
    """The real task; it brings torchvision with it, which takes seconds to import.

    A trial that was given no GPU takes none: Ray hides GPUs only from workers that ask for some.
    """
    from nas.proxy.task import ProxyTask

    proxy = config.proxy
    if proxy.device == "auto" and config.resources.gpus == 0:
        proxy = replace(proxy, device="cpu")
    return ProxyTask(proxy, config.data)


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker needs beside the candidate."""

    config: SearchConfig
    trials: Path
    make_task: MakeTask


def trial_seed(config: SearchConfig, number: int) -> int:
    """Seed of a trial's training, from the search's seed and the trial's number."""
    return config.seed * 1_000_003 + number


def run_trial(
    task: Task, settings: WorkerSettings, number: int, genotype: Genotype, limited: bool = True
) -> dict[str, Any]:
    """Train and score; an error of the candidate comes back as `error`, so that nobody tries it again.

    Args:
        limited: whether the constraints hold for it; they do not for known necks.

    Returns:
        `metrics`, or what was measured of a candidate that is over a limit as `rejected` (both as JSON text, since Tune
        flattens what is nested), or `error`.

    Raises:
        torch.AcceleratorError: when this process can no longer use its GPU.
    """
    start = time.perf_counter()
    _free_gpu()
    config = settings.config
    check = partial(_refuse, config) if limited and config.constraints.limits() else None
    try:
        trained = task.run(genotype, trial_seed(config, number), check)
        reward_of(config.reward, trained.metrics)
        save_exported(trained.neck, settings.trials / f"{number:04d}")
    except RejectedError as rejection:
        return {"rejected": json.dumps(rejection.measured)}
    except (TrialError, RewardError) as error:
        return {"error": str(error)}
    except torch.AcceleratorError:
        raise  # the process's GPU context is broken: Tune takes a new worker and tries again
    except Exception as error:
        logging.getLogger(__name__).exception("trial %d failed", number)
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        return {"error": f"{type(error).__name__}: {error} ({where})"}
    metrics = {**trained.metrics, "seconds": time.perf_counter() - start}
    return {"metrics": json.dumps(metrics)}


def _refuse(config: SearchConfig, measured: Measured) -> None:
    if violations(config.constraints, measured):
        raise RejectedError(measured)


def _free_gpu() -> None:
    """Give back what the trial before left on the GPU, after an out-of-memory error above all."""
    if torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()


class TrialActor(tune.Trainable):
    """Tune's view of a worker: one step is one whole trial, and a reset only changes the candidate."""

    def setup(self, config: dict[str, Any], settings: WorkerSettings | None = None) -> None:
        assert settings is not None
        self.settings = settings
        self.task: Task | None = None

    def step(self) -> dict[str, Any]:
        try:
            self.task = self.task or self.settings.make_task(self.settings.config)
        except Exception as error:
            logging.getLogger(__name__).exception("the task could not be set up")
            return {"fatal": f"{type(error).__name__}: {error}", "done": True}
        genotype = Genotype.from_json(self.config["genotype"])
        number, limited = self.config["number"], self.config["limited"]
        return {**run_trial(self.task, self.settings, number, genotype, limited), "done": True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.config = new_config
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: a trial that was cut off is run again from the start."""
