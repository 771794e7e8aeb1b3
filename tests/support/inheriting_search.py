"""A search by the real proxy task whose children inherit, and wait in mid-training as long as a file is there.

Run as a script, this is the search in a process that tests can kill.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from nas.cli.ending import ending
from nas.data.config import DataConfig, SignsConfig
from nas.engine.run import run_search
from nas.proxy.task import ProxyTask
from nas.runs.run_directory import RunDirectory
from nas.search.config import ControllerConfig, ResourceConfig, SearchConfig, data_of
from nas.search.confirmation import ConfirmConfig
from nas.search.inheritance import InheritConfig
from nas.search.records import Trial
from tests.support.recorded import TINY
from tests.support.toy_search import Teller

HOLD, HELD = "hold", "held"
"""As long as there is the first file, no child gets beyond `HELD_STEP`; the second has the process id of one that waits
there."""
STEPS, HELD_STEP = 6, 3


class HeldTask(ProxyTask):
    def __init__(self, orders: Path, config: SearchConfig) -> None:
        super().__init__(config.proxy, data_of(config))
        self._orders = orders

    def training(self, *arguments: Any, **options: Any) -> Any:
        training = super().training(*arguments, **options)
        if training.config.steps == STEPS:
            training.steps = partial(self._held, training.steps)
        return training

    def _held(self, steps: Any) -> Iterator[int]:
        for step in steps():
            yield step
            while step == HELD_STEP and (self._orders / HOLD).exists():
                (self._orders / HELD).write_text(str(os.getpid()))
                time.sleep(0.02)


def inheriting_config(root: Path) -> SearchConfig:
    """One worker, so that the order of the trials is one; every step leaves a checkpoint."""
    return SearchConfig(
        name="inheriting",
        data=DataConfig(root=str(root / "signs"), embedded=SignsConfig(train=40, reward=16, test=2)),
        proxy=replace(TINY, steps=2 * STEPS),
        controller=ControllerConfig(
            name="evolution", options={"population_size": 2, "tournament_size": 2}, initial=("nas_fpn",)
        ),
        resources=ResourceConfig(workers=1, checkpoint_seconds=0),
        inherit=InheritConfig(steps=STEPS),
        confirm=ConfirmConfig(trainings=4, found=1, known=1),
        known=("nas_fpn",),
        trials=4,
        random_trials=0,
    )


def search(root: Path, run_dir: Path) -> list[Trial]:
    """The whole search; `root` is the directory for orders and has the data."""
    run, config = RunDirectory(run_dir), inheriting_config(root)
    with run.claim(config):
        return run_search(config, run, Teller(), make_task=partial(HeldTask, root))


if __name__ == "__main__":
    with ending():
        search(*map(Path, sys.argv[1:]))
