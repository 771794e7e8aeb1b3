"""Agreement of inherited scores with trainings from nothing, among the children of one parent.

For every parent: children of one mutation each, within the default run's limit on multiply-adds. A child is scored from
its parent's weights after few steps, from nothing after as many, and in whole trainings from nothing, whose mean is the
truth. What was trained is kept in --out, and the same command goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np

from experiments.benchmarks.results import RESULTS, write_result
from experiments.signs import search
from nas.atomic_write import atomic_write
from nas.comparison.ranking import Agreement, agreement, seed_std, spread
from nas.proxy.task import ProxyTask
from nas.proxy.trial import Start, TrialCallbacks
from nas.search.config import build_space, data_of
from nas.search.constraints import static_cost, violations
from search_space import KNOWN, Genotype, known_genotype

INHERITED, SHORT, WHOLE = "inherited", "short", "whole"
KINDS = (INHERITED, SHORT, WHOLE)
PARENT_SEED = 0
"""Seed of the parents' trainings; those of the children are greater."""


@dataclass(frozen=True)
class Scored:
    """A training of a child and where its AP is kept.

    Args:
        parent, child: JSON of genotypes.
        steps: of this training; `lr` is its share of the learning rate.
    """

    out: Path
    kind: str
    parent: str
    child: str
    steps: int
    lr: float
    seed: int

    @property
    def path(self) -> Path:
        facts = [self.kind, self.parent if self.kind == INHERITED else "", self.child, self.steps, self.lr, self.seed]
        return self.out / f"{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]}.json"

    @property
    def ap(self) -> float:
        return float(json.loads(self.path.read_text())["AP"])


@dataclass(frozen=True)
class Row:
    """The children of one parent: agreement of both short trainings with the truth, and how far its APs lie apart."""

    parent: str
    inherited: Agreement
    short: Agreement
    spread: float
    seed_std: float


class _Callbacks(TrialCallbacks):
    def __init__(self, start: Start | None = None, *, keeps_weights: bool = False) -> None:
        self.start = start
        self.keeps_weights = keeps_weights


class Worker:
    """A process that trains; it keeps the proxy task for each length of training."""

    def __init__(self) -> None:
        self._tasks: dict[int, ProxyTask] = {}

    def task(self, steps: int) -> ProxyTask:
        if steps not in self._tasks:
            config = search()
            self._tasks[steps] = ProxyTask(replace(config.proxy, steps=steps), data_of(config))
        return self._tasks[steps]

    def keep_parent(self, out: Path, parent: str) -> None:
        """Train a parent from nothing, as a search does, and keep its weights."""
        if not (path := weights_of(out, parent)).exists():
            task = self.task(search().proxy.steps)
            weights = task.run(Genotype.from_json(parent), PARENT_SEED, _Callbacks(keeps_weights=True)).weights
            atomic_write(path, weights or b"")

    def score(self, job: Scored) -> None:
        if job.path.exists():
            return
        child, start, steps = Genotype.from_json(job.child), None, job.steps
        if job.kind == INHERITED:
            start, steps = Start(weights_of(job.out, job.parent).read_bytes(), job.steps, job.lr), search().proxy.steps
        metrics = self.task(steps).run(child, job.seed, _Callbacks(start)).metrics
        print(f"{job.kind}, seed {job.seed}: AP {metrics['AP']:.1f}", flush=True)
        atomic_write(job.path, json.dumps({"AP": metrics["AP"]}))


_worker = Worker()


def _keep_parent(job: tuple[Path, str]) -> None:
    _worker.keep_parent(*job)


def _score(job: Scored) -> None:
    _worker.score(job)


def weights_of(out: Path, parent: str) -> Path:
    return out / f"{hashlib.sha256(parent.encode()).hexdigest()[:24]}.weights"


def named(name: str) -> Genotype:
    """A known neck, or the winner of a seed of the default run's record."""
    if name in KNOWN:
        return known_genotype(name)
    rows = json.loads((RESULTS / "default_run.json").read_text())["data"]
    return Genotype.from_json(next(row["genotype"] for row in rows if str(row["seed"]) == name))


def children(parent: Genotype, count: int) -> list[Genotype]:
    """Different mutants that keep the search's limits and compute something else than their parent."""
    config = search()
    space, cost, rng = build_space(config), static_cost(config.proxy), random.Random(0)
    found: dict[str, Genotype] = {}
    while len(found) < count:
        child = space.mutate(parent, rng)
        if child.fingerprint != parent.fingerprint and not violations(config.constraints, cost(child)):
            found.setdefault(child.fingerprint, child)
    return list(found.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parents", nargs="+", default=["bifpn", "nas_fpn", "5"], help="see `named`")
    parser.add_argument("--children", type=int, default=16, help="of each parent")
    parser.add_argument("--short", type=int, default=100, help="steps")
    parser.add_argument("--lr", type=float, default=0.5, help="share of the learning rate of an inherited training")
    parser.add_argument("--seeds", type=int, default=2, help="of the short trainings")
    parser.add_argument("--whole-seeds", type=int, default=3, help="of the whole trainings")
    parser.add_argument("--out", type=Path, default=Path("runs/inherited_scores"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    whole = search().proxy.steps
    steps = {INHERITED: arguments.short, SHORT: arguments.short, WHOLE: whole}
    seeds = {INHERITED: arguments.seeds, SHORT: arguments.seeds, WHOLE: arguments.whole_seeds}
    rates = {INHERITED: arguments.lr, SHORT: 1.0, WHOLE: 1.0}
    families = {name: children(named(name), arguments.children) for name in arguments.parents}
    jobs = {
        (name, kind, place, seed): Scored(
            arguments.out, kind, _json(named(name)), _json(child), steps[kind], rates[kind], PARENT_SEED + 1 + seed
        )
        for name, kind in product(families, KINDS)
        for place, child in enumerate(families[name])
        for seed in range(seeds[kind])
    }
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(_keep_parent, [(arguments.out, _json(named(name))) for name in families], chunksize=1)
        pool.map(_score, list(jobs.values()), chunksize=1)

    def scores(name: str, kind: str) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        return np.array(
            [[jobs[name, kind, place, seed].ap for seed in range(seeds[kind])] for place in range(len(families[name]))]
        )

    rows = [
        Row(
            parent=name,
            inherited=agreement(scores(name, INHERITED), scores(name, WHOLE)),
            short=agreement(scores(name, SHORT), scores(name, WHOLE)),
            spread=spread(scores(name, WHOLE)),
            seed_std=seed_std(scores(name, WHOLE)),
        )
        for name in families
    ]
    data = {
        "rows": [asdict(row) for row in rows],
        "scores": {name: {kind: scores(name, kind).tolist() for kind in KINDS} for name in families},
    }
    write_result("inherited_scores", "Do inherited scores rank children?", report(rows, arguments), data)


def _json(genotype: Genotype) -> str:
    return genotype.to_json(indent=None)


def report(rows: Sequence[Row], arguments: argparse.Namespace) -> str:
    lines = [
        f"{arguments.children} children of each parent, one mutation away. Kendall's tau (90 % interval) of one "
        f"training of {arguments.short} steps with the mean of {arguments.whole_seeds} whole trainings from nothing "
        f"({search().proxy.steps} steps); the ceiling is what one more whole training would reach.",
        "",
        "| parent | inherited | from nothing | ceiling | APs of the children, sd | sd from seed to seed |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.parent} | {_tau(row.inherited)} | {_tau(row.short)} | {row.inherited.ceiling:.2f} | {row.spread:.1f} "
        f"| {row.seed_std:.1f} |"
        for row in rows
    ]
    return "\n".join(lines)


def _tau(found: Agreement) -> str:
    return f"{found.tau:.2f} ({found.low:.2f} .. {found.high:.2f})"


if __name__ == "__main__":
    main()
