"""A search whose candidates cost a fraction of a second: real Ray, real journal, real processes, a made-up AP.

Every start of a trial is appended to `starts.log` in a directory for orders, where `TOY_*` files make trials
misbehave. Run as a script, this is a search in a process that tests can kill.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from nas.cli.ending import ending
from nas.data.config import DataConfig
from nas.engine.run import run_search
from nas.engine.scheduler import TrialScheduler
from nas.engine.usage import Usage
from nas.proxy.config import ProxyConfig
from nas.proxy.trial import Trained, TrialCallbacks, TrialError
from nas.runs.run_directory import RunDirectory
from nas.search.config import ControllerConfig, ResourceConfig, SearchConfig
from nas.search.confirmation import ConfirmConfig
from nas.search.records import Trial
from search_space import Genotype

if TYPE_CHECKING:
    from necks import Neck


CONFIRM = "TOY_CONFIRM"
"""If there is this file, the search confirms its answer, and a training's AP depends on its seed as well."""

HOLD = "TOY_HOLD"
"""As long as there is this file, no trial ends: tests wait for what is to happen meanwhile."""


class ToyTask:
    """AP from the fingerprint, so that equal genotypes score equally in every process."""

    def __init__(self, config: SearchConfig) -> None:
        self.orders = Path(config.data.root)
        for path in self.orders.glob("TOY_NO_TASK_BUT_IN_*"):
            if path.name != f"TOY_NO_TASK_BUT_IN_{os.getpid()}":
                raise OSError("no task here")
        self.seconds = config.proxy.steps / 1000

    def run(self, genotype: Genotype, seed: int, callbacks: TrialCallbacks) -> Trained:
        number = seed
        cost = {"params": 1000, "macs": 2_000_000, "latency_ms": latency_ms(genotype)}
        callbacks.before_training(cost)
        ap = int(genotype.fingerprint, 16) % 10_000 / 100
        if (self.orders / CONFIRM).exists():
            ap += random.Random(seed).gauss(0, 0.9)
        for rung in callbacks.rungs:
            if callbacks.stops_at(rung, {"AP": ap * rung / 100}):
                return Trained({"AP": ap * rung / 100, **cost}, None, stopped_at=rung)
        if callbacks.checkpoint_seconds is not None:
            self.continue_or_die(number, callbacks)
        with (self.orders / "starts.log").open("a") as file:
            file.write(f"{number}\n")
        time.sleep(self.seconds)
        while (self.orders / HOLD).exists():
            time.sleep(0.02)
        if (self.orders / f"TOY_NAN_{number}").exists():
            raise TrialError("loss is nan at step 7; lower proxy.optimizer.lr")
        if (self.orders / f"TOY_BUG_{number}").exists():
            raise IndexError("a bug in the task")
        once = self.orders / f"TOY_DIE_ONCE_{number}"
        if once.exists() or (self.orders / f"TOY_DIE_{number}").exists():
            once.unlink(missing_ok=True)
            os.kill(os.getpid(), signal.SIGKILL)
        if (self.orders / f"TOY_SLOW_{number}").exists():
            time.sleep(600)
        if (self.orders / f"TOY_MEMORY_{number}").exists():
            raise MemoryError("cannot allocate 3 TiB")
        return Trained({"AP": ap, **cost}, self.neck(genotype))

    def neck(self, genotype: Genotype) -> Neck | None:
        """Only where a test wants it: it brings torch with it, which takes a worker seconds to import."""
        if not (self.orders / "TOY_NECKS").exists():
            return None
        from necks import build_neck

        return build_neck(genotype, in_channels=(4, 4, 4), out_channels=4).eval()

    def continue_or_die(self, number: int, callbacks: TrialCallbacks) -> None:
        """The first attempt of every trial is killed after its checkpoint; later ones note what they got back."""
        if (data := callbacks.load_checkpoint()) is None:
            callbacks.save_checkpoint(f"checkpoint of {number}".encode())
            os.kill(os.getpid(), signal.SIGKILL)
        else:
            (self.orders / f"continued_{number}").write_bytes(data)


def latency_ms(genotype: Genotype) -> float:
    """1 to 10 milliseconds, made up; fpn takes 10 and nas_fpn 9."""
    return 10.0 - int(genotype.fingerprint, 16) % 10


def make_toy(config: SearchConfig) -> ToyTask:
    return ToyTask(config)


def toy_config(orders: Path, *, trials: int = 6, milliseconds: int = 50, **changes: object) -> SearchConfig:
    """`data.root` is the directory for orders: it tells the task where to look."""
    fields: dict[str, object] = {
        "name": "toy",
        "data": DataConfig(root=str(orders)),
        "proxy": ProxyConfig(steps=milliseconds),
        "controller": ControllerConfig(name="evolution", options={"population_size": 4, "tournament_size": 2}),
        "resources": ResourceConfig(workers=2),
        "known": ("fpn", "nas_fpn"),
        "trials": trials,
        "random_trials": 2,
        "confirm": ConfirmConfig(trainings=12 if (orders / CONFIRM).exists() else 0, found=2, known=2),
    }
    return SearchConfig(**(fields | changes))  # type: ignore[arg-type]


def search(config: SearchConfig, run_dir: Path, teller: Teller | None = None, address: str | None = None) -> list:
    run = RunDirectory(run_dir)
    with run.claim(config):
        return run_search(config, run, teller or Teller(), make_task=make_toy, address=address)


class Teller:
    """Says on standard output which trials finished, and remembers the rest."""

    def __init__(self, verbose: bool = False) -> None:
        self.verbose = verbose
        self.scheduler: TrialScheduler | None = None
        self.expected: list[tuple[int, float | None]] = []
        self.usage: list[Usage] = []

    def expect(self, scheduler: TrialScheduler, workers: int, estimate: float | None) -> None:
        self.expected.append((workers, estimate))

    def finished(self, trial: Trial, scheduler: TrialScheduler) -> None:
        self.scheduler = scheduler
        if self.verbose:
            sys.stdout.write(f"finished {trial.number}\n")
            sys.stdout.flush()

    def ended(self, usage: Usage) -> None:
        self.usage.append(usage)


def states(scheduler: TrialScheduler) -> dict[str, dict]:
    """Of all its controllers."""
    return {origin: controller.state_dict() for origin, controller in scheduler.proposers.controllers.items()}


def starts(orders: Path) -> Counter[int]:
    """How often each trial was started."""
    return Counter(int(line) for line in (orders / "starts.log").read_text().split())


if __name__ == "__main__":
    ORDERS, RUN_DIR, TRIALS, MILLISECONDS, *REST = sys.argv[1:]
    STORAGE, ADDRESS = (*REST, "", "")[:2]
    CONFIG = toy_config(Path(ORDERS), trials=int(TRIALS), milliseconds=int(MILLISECONDS), storage=STORAGE or None)
    TELLER = Teller(verbose=True)
    with ending():
        sys.stdout.write("begun\n")
        sys.stdout.flush()
        search(CONFIG, Path(RUN_DIR), TELLER, ADDRESS or None)
    if TELLER.scheduler is not None:
        (Path(ORDERS) / "controllers.json").write_text(json.dumps(states(TELLER.scheduler)))
