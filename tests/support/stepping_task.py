"""A task of a few made-up steps that keeps checkpoints, for trials under Ray Tune.

Every step of every trial is appended to `steps.log` in a directory for orders, as `SEED STEP`. Run as a script, this is
a `Tuner` in a process that tests can kill.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import ray
from ray import tune

from nas.data.config import DataConfig
from nas.proxy.config import OptimizerConfig, ProxyConfig
from nas.proxy.trial import Trained, TrialCallbacks, TrialError
from nas.search.config import ControllerConfig, SearchConfig, data_of
from nas.search.confirmation import ConfirmConfig
from nas.search.resources import ResourceConfig
from nas.search.stopping import StoppingConfig
from nas.tune import tuner_parts
from nas.workers.private_ray import private_ray
from search_space import Genotype


class SteppingTask:
    """AP from the fingerprint, growing with the steps.

    A file `FAIL_SEED` in the directory for orders makes a trial fail; as long as there is `HOLD_SEED_STEP`, the trial
    does not do that step, and `held_SEED` has the id of its process.
    """

    def __init__(self, config: SearchConfig) -> None:
        self.orders = Path(data_of(config).root)
        self.steps = config.proxy.steps
        self.seconds = config.proxy.optimizer.lr

    def run(self, genotype: Genotype, seed: int, callbacks: TrialCallbacks) -> Trained:
        cost = {"params": 1000, "macs": 2_000_000, "latency_ms": latency_ms(genotype)}
        callbacks.before_training(cost)
        if (self.orders / f"FAIL_{seed}").exists():
            raise TrialError("loss is nan at step 7; lower proxy.optimizer.lr")
        data = callbacks.load_checkpoint()
        begun = 0 if data is None else json.loads(data)["step"]
        for step in range(begun + 1, self.steps + 1):
            time.sleep(self.seconds)
            while (self.orders / f"HOLD_{seed}_{step}").exists():
                (self.orders / f"held_{seed}").write_text(str(os.getpid()))
                time.sleep(0.02)
            with (self.orders / "steps.log").open("a") as file:
                file.write(f"{seed} {step}\n")
            if step in callbacks.rungs and step < self.steps:
                if callbacks.stops_at(step, {"AP": self.ap(genotype, step), **cost}):
                    return Trained({"AP": self.ap(genotype, step), **cost, "steps": step}, None, stopped_at=step)
                if callbacks.checkpoint_seconds is not None:
                    callbacks.save_checkpoint(json.dumps({"step": step}).encode())
        return Trained({"AP": self.ap(genotype, self.steps), **cost, "steps": self.steps, "begun": begun}, None)

    def ap(self, genotype: Genotype, step: int) -> float:
        return int(genotype.fingerprint, 16) % 10_000 / 100 * step / self.steps


def make_stepping(config: SearchConfig) -> SteppingTask:
    return SteppingTask(config)


def latency_ms(genotype: Genotype) -> float:
    """1 to 10 milliseconds, made up."""
    return 10.0 - int(genotype.fingerprint, 16) % 10


def stepping_config(orders: Path, *, steps: int = 4, seconds: float = 0.001, **changes: object) -> SearchConfig:
    """
    Args:
        orders: directory for orders.
        seconds: of a step.
    """
    fields: dict[str, object] = {
        "name": "stepping",
        "data": DataConfig(root=str(orders)),
        "proxy": ProxyConfig(steps=steps, optimizer=OptimizerConfig(lr=seconds)),
        "controller": ControllerConfig(name="random"),
        "stopping": StoppingConfig(rungs=(1, 2), reduction_factor=2),
        "resources": ResourceConfig(workers=2),
        "known": (),
        "trials": 4,
        "random_trials": 0,
        "confirm": ConfirmConfig(trainings=0),
    }
    return SearchConfig(**(fields | changes))  # type: ignore[arg-type]


def steps_done(orders: Path) -> list[tuple[int, int]]:
    """(seed, step) in the order of the log."""
    lines = [line.split() for line in (orders / "steps.log").read_text().splitlines()]
    return [(int(seed), int(step)) for seed, step in lines]


if __name__ == "__main__":
    ORDERS, STORAGE = map(Path, sys.argv[1:])
    with private_ray():
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        RUN = tune.RunConfig(name="killed", storage_path=str(STORAGE), verbose=0)
        CONFIG = stepping_config(ORDERS, trials=6, seconds=0.05)
        PARTS = tuner_parts(CONFIG, make_stepping)
        PARTS["tune_config"] = replace(PARTS["tune_config"], scheduler=None)
        tune.Tuner(**PARTS, run_config=RUN).fit()
