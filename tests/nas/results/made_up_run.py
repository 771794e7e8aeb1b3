"""A run directory with made-up results, written through the real journal."""

from __future__ import annotations

import random
from pathlib import Path

from experiments import signs
from nas.search.config import SearchConfig, build_space
from nas.search.journal import Journal
from nas.search.records import Candidate, Trial
from nas.search.run_directory import RunDirectory
from necks import build_neck, save_exported
from search_space import known_genotype


def metrics(ap: float, macs: float) -> dict[str, float]:
    parts = {"AP50": ap + 9, "APs": ap - 3, "APm": ap, "APl": ap + 3}
    return {"AP": ap, **parts, "params": 80_640, "macs": macs, "latency_ms": 1.5, "seconds": 12.0}


def made_up_run(path: Path, searched: int = 5) -> tuple[RunDirectory, SearchConfig, list[Trial]]:
    """Two known necks, one random and some searched candidates; one of those failed, and one is still running."""
    config = signs.smoke()
    run = RunDirectory(path)
    space = build_space(config)
    rng = random.Random(0)
    with run.claim(config):
        journal = Journal(run.journal_file, writable=True)
        candidates = [Candidate(origin=f"known:{name}", genotype=known_genotype(name)) for name in config.known]
        candidates += [Candidate(origin="random", genotype=space.sample(rng), proposal=0)]
        candidates += [Candidate(origin="search", genotype=space.sample(rng), proposal=k) for k in range(searched)]
        for candidate in candidates:
            number = journal.add(candidate, space_choices={})
            if number == len(candidates) - 1:
                break
            if candidate.origin == "search" and candidate.proposal == 1:
                journal.finish(number, "failed", None, {}, error="loss is nan at step 3 <b>")
                continue
            ap = 30 + 7 * rng.random() + number
            journal.finish(number, "complete", ap, metrics(ap, 1e7 * (2 + rng.random())))
            save_exported(build_neck(candidate.genotype, in_channels=(8, 8, 8), out_channels=8), run.trial(number))
    return run, config, Journal(run.journal_file).trials()
