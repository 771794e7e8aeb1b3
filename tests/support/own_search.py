"""Files of a user's own project: a task, a controller, a space, a reward and a cost in one module beside nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from search_space import DEFAULT_LEVELS, known, references

TEXT = '''
import random

from controllers import Controller
from controllers.evolution import mutate
from nas.search.config import ControllerConfig, ResourceConfig, SearchConfig, SpaceConfig, TaskConfig
from nas.search.confirmation import ConfirmConfig
from nas.search.constraints import ConstraintConfig
from nas.search.reward import RewardConfig
from search_space import Genotype, PyramidSpace


class CountSums:
    """A made-up score in place of a detector: how many cells are sums."""

    def __init__(self, config, bonus=0.0):
        self.bonus = bonus

    def run(self, genotype, seed, callbacks):
        sums = sum(cell.merge == "sum" for cell in genotype.cells)
        return {"score": sums + random.Random(seed).gauss(0, 0.1) + self.bonus}


def count_inputs(genotype, seed, callbacks):
    return {"score": float(sum(len(cell.inputs) for cell in genotype.cells))}


class HillClimbing(Controller):
    """Random until something was scored; then every proposal is a mutation of the best so far."""

    best = None

    def __init__(self, space, *, seed=0, initial=(), greed=1.0):
        super().__init__(space, seed=seed, initial=initial)
        self.greed = greed

    def _next(self, rng):
        if self.best is None:
            return self.space.sample(rng)
        return mutate(self.space, self.best[1], self._is_duplicate, rng)

    def _learn(self, outcome):
        if outcome.reward is not None and (self.best is None or outcome.reward > self.best[0]):
            self.best = (outcome.reward, outcome.proposal.genotype)

    def _state(self):
        return {"best": None if self.best is None else [self.best[0], self.best[1].to_dict()]}

    def _load(self, state):
        self.best = None if state["best"] is None else (state["best"][0], Genotype.from_dict(state["best"][1]))


def space(levels, cells=6):
    return PyramidSpace(levels=levels, min_cells=5, max_cells=cells)


def npu(genotype, neck):
    return {"npu_ms": 0.2 * sum(len(cell.inputs) for cell in genotype.cells)}


def per_millisecond(metrics):
    return metrics["score"] / metrics["npu_ms"]


def mine():
    return SearchConfig(
        name="mine",
        task=TaskConfig(name=CountSums, options={"bonus": 1.0}),
        space=SpaceConfig(name=space, options={"cells": 7}),
        controller=ControllerConfig(name=HillClimbing, options={"greed": 2.0}),
        reward=RewardConfig(objective=per_millisecond, metric="score", cost="npu_ms"),
        costs=(npu,),
        constraints=ConstraintConfig(max_costs={"npu_ms": 2.7}),
        resources=ResourceConfig(workers=2),
        known=("fpn", "start.json"),
        trials=6,
        random_trials=2,
        confirm=ConfirmConfig(trainings=8, found=2, known=2),
    )
'''


def write_project(directory: Path) -> None:
    """Write `my_search.py`, with the experiment `mine`, and the genotype `start.json`."""
    (directory / "my_search.py").write_text(TEXT)
    (directory / "start.json").write_text(json.dumps(known.bifpn(DEFAULT_LEVELS).to_dict()))


@contextmanager
def project_in(directory: Path, monkeypatch: pytest.MonkeyPatch, **files: str) -> Iterator[Path]:
    """The current directory, with a project and further modules; what was loaded and trusted is forgotten then."""
    write_project(directory)
    for name, text in files.items():
        (directory / f"{name}.py").write_text(text)
    monkeypatch.chdir(directory)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(references, "_trusted", set())
    monkeypatch.setattr(references, "_places", [])
    before = set(sys.modules)
    yield directory
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").is_relative_to(directory):
            del sys.modules[name]
