"""A run directory with made-up results, written through the real journal."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments import signs
from nas.runs.journal import Journal
from nas.runs.run_directory import RunDirectory
from nas.search.config import SearchConfig, build_space
from nas.search.confirmation import ConfirmConfig
from nas.search.records import Candidate, Trial
from necks import build_neck, save_exported
from search_space import SearchSpace, known_genotype

KEPT = 40
"""So many trials at most have weights."""


def metrics(ap: float, macs: float) -> dict[str, float]:
    parts = {"AP50": ap + 9, "APs": ap - 3, "APm": ap, "APl": ap + 3}
    return {"AP": ap, **parts, "params": 80_640, "macs": macs, "latency_ms": 1.5, "seconds": 12.0}


def _proposed(origin: str, space: SearchSpace, rng: random.Random, number: int) -> Candidate:
    genotype = space.sample(rng)
    return Candidate(origin=origin, genotype=genotype, proposal=number, choices=space.encode(genotype))


def made_up_run(
    path: Path, searched: int = 5, *, error: str = "loss is nan at step 3 <b>", **changes: Any
) -> tuple[RunDirectory, SearchConfig, list[Trial]]:
    """Two known necks, one random and some searched candidates; one of those failed, and one is still running.

    Args:
        error: of the one that failed.
        changes: to fields of the configuration.
    """
    planned = {"confirm": ConfirmConfig(trainings=0), "random_trials": 1, "trials": searched}
    config = replace(signs.smoke(), **(planned | changes))
    run = RunDirectory(path)
    space = build_space(config)
    rng = random.Random(0)
    fixed = {name: tuple(c for c in choices if c is not None) for name, choices in space.decisions().items()}
    with run.claim(config):
        journal = Journal(run.journal_file, writable=True)
        candidates = [Candidate(origin=f"known:{name}", genotype=known_genotype(name)) for name in config.known]
        candidates += [_proposed("random", space, rng, 0)]
        candidates += [_proposed("search", space, rng, k) for k in range(searched)]
        for candidate in candidates:
            number = journal.add(candidate, space_choices=fixed)
            if number == len(candidates) - 1:
                break
            if candidate.origin == "search" and candidate.proposal == 1:
                journal.finish(number, "failed", None, {}, error=error)
                continue
            ap = 30 + 7 * rng.random() + number
            measured = metrics(ap, 1e7 * (2 + rng.random())) | {config.reward.metric: ap}
            journal.finish(number, "complete", ap, measured)
            if number < KEPT:
                save_exported(build_neck(candidate.genotype, in_channels=(8, 8, 8), out_channels=8), run.trial(number))
    return run, config, Journal(run.journal_file).trials()
