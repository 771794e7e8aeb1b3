"""Trials that each controller needs to find good genotypes: many seeds, concurrent workers.

Synthetic problems by default; with `--problems recorded --space signs_wide` one made of recorded trials.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import matplotlib.pyplot as plt
from scipy.stats import mannwhitneyu

from controllers import CONTROLLERS, Controller, Outcome, PPOController, Proposal
from experiments.benchmarks import recorded
from experiments.benchmarks.problems import PROBLEMS, Problem
from experiments.benchmarks.results import RESULTS, write_result
from search_space import SearchSpace, nas_fpn_space, pyramid_space

SAMPLES = 20_000
"""Random genotypes per problem and seed that the thresholds are quantiles of."""
TOP = {"top 1 %": 0.99, "top 0.1 %": 0.999}
RECORDED = "recorded"
EVERY_PROBLEM: dict[str, Callable[[SearchSpace, int], Problem]] = {**PROBLEMS, RECORDED: recorded.Recorded}
SPACES: dict[str, Callable[[], SearchSpace]] = {
    "nas_fpn": nas_fpn_space,
    "pyramid": pyramid_space,
    "signs_wide": recorded.space,
}
VARIANTS: dict[str, Callable[..., Controller]] = {**CONTROLLERS, "nasnet": PPOController.nasnet}


@dataclass(frozen=True)
class Job:
    space: str
    problem: str
    controller: str
    seed: int
    trials: int
    slots: int
    limits: dict[str, float]
    """Least value of a genotype in each top share of random ones."""


@dataclass(frozen=True)
class Run:
    """One search.

    Attributes:
        best: noise-free value of the best genotype so far, by what was observed, after each outcome.
        reached: trials until a genotype of the quantile was tried, None if never.
        propose_ms, observe_ms: mean per trial.
        entropy: of PPO's policy, at the start and at the end.
    """

    best: list[float]
    reached: dict[str, int | None]
    propose_ms: float
    observe_ms: float
    entropy: tuple[float, float] | None


def run(job: Job) -> Run:
    """Trials finish in random order, `slots` of them being in work at any time."""
    space = SPACES[job.space]()
    problem = EVERY_PROBLEM[job.problem](space, job.seed)
    controller = VARIANTS[job.controller](space, seed=job.seed)
    rng = random.Random(f"{job.problem} {job.seed}")
    reached: dict[str, int | None] = dict.fromkeys(TOP)
    incumbent, best, entropies = (-1.0, 0.0), [], []
    spent = [0.0, 0.0]
    pending: list[Proposal] = []
    for trial in range(1, job.trials + 1):
        start = time.perf_counter()
        pending += controller.propose(min(job.slots - len(pending), job.trials - controller.num_proposed))
        proposed = time.perf_counter()
        proposal = pending.pop(rng.randrange(len(pending)))
        observed, value = problem.observe(proposal.genotype, rng), problem.value(proposal.genotype)
        asked = time.perf_counter()
        controller.observe([Outcome(proposal, observed)])
        spent = [spent[0] + proposed - start, spent[1] + time.perf_counter() - asked]
        incumbent = max(incumbent, (observed, value))
        best.append(round(incumbent[1], 4))
        for name, limit in job.limits.items():
            if reached[name] is None and value >= limit:
                reached[name] = trial
        entropies.append(getattr(controller, "entropy", None))
    known = [entropy for entropy in entropies if entropy is not None]
    return Run(
        best,
        reached,
        1000 * spent[0] / job.trials,
        1000 * spent[1] / job.trials,
        (known[0], known[-1]) if known else None,
    )


def thresholds(space: str, problem_name: str, seed: int) -> dict[str, float]:
    """`Job.limits` of a problem with the hidden target of this seed."""
    problem = EVERY_PROBLEM[problem_name](SPACES[space](), seed)
    rng = random.Random(f"random samples {seed}")
    values = sorted(problem.values([problem.space.sample(rng) for _ in range(SAMPLES)]))
    return {name: values[int(share * SAMPLES)] for name, share in TOP.items()}


def search_all(arguments: argparse.Namespace) -> list[tuple[Job, Run]]:
    """Every controller on every problem and seed, in this order; each process keeps to one thread."""
    os.environ["OMP_NUM_THREADS"] = "1"
    names = list(dict.fromkeys(["random", *arguments.controllers]))
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        targets = list(product(range(arguments.seeds), arguments.problems))
        limits = pool.starmap(thresholds, [(arguments.space, problem, seed) for seed, problem in targets], chunksize=1)
        jobs = [
            Job(arguments.space, problem, controller, seed, arguments.trials, arguments.slots, limit)
            for (seed, problem), limit in zip(targets, limits, strict=True)
            for controller in names
        ]
        runs = []
        for job, done in zip(jobs, pool.imap(run, jobs), strict=True):
            runs.append(done)
            print(f"{len(runs)}/{len(jobs)} {job.problem} {job.controller} seed {job.seed}", flush=True)
    return list(zip(jobs, runs, strict=True))


def table(found: Sequence[tuple[Job, Run]], trials: int) -> str:
    lines = [
        "| problem | controller | trials to top 1 % | to top 0.1 % | share of random's | reached by | "
        f"best at {trials} | p against random | propose ms | observe ms |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for problem in dict.fromkeys(job.problem for job, _ in found):
        of_random = _runs(found, problem, "random")
        for controller in dict.fromkeys(job.controller for job, _ in found):
            runs = _runs(found, problem, controller)
            first, second = (_median(run.reached[name] for run in runs) for name in TOP)
            share = second / _median(run.reached["top 0.1 %"] for run in of_random)
            done = sum(run.reached["top 0.1 %"] is not None for run in runs)
            final = [run.best[-1] for run in runs]
            p = mannwhitneyu(final, [run.best[-1] for run in of_random], alternative="greater").pvalue
            lines.append(
                f"| {problem} | {controller} | {_shown(first)} | {_shown(second)} | {_shown(share, 2)} "
                f"| {done}/{len(runs)} | {statistics.median(final):.3f} | {p:.1e} "
                f"| {statistics.median(run.propose_ms for run in runs):.2f} "
                f"| {statistics.median(run.observe_ms for run in runs):.2f} |"
            )
    return "\n".join(lines)


def entropy_lines(found: Sequence[tuple[Job, Run]]) -> str:
    lines = []
    for problem in dict.fromkeys(job.problem for job, _ in found):
        for controller in dict.fromkeys(job.controller for job, _ in found):
            pairs = [run.entropy for run in _runs(found, problem, controller) if run.entropy is not None]
            if pairs:
                first, last = (statistics.median(pair[index] for pair in pairs) for index in range(2))
                lines.append(
                    f"* {problem}, {controller}: {first:.2f} -> {last:.2f} nats per decision (median of seeds)"
                )
    return "\n".join(lines)


def plot(found: Sequence[tuple[Job, Run]], name: str) -> None:
    """Best so far against trials: median of the seeds, and the band that holds 95 % of them."""
    problems = list(dict.fromkeys(job.problem for job, _ in found))
    figure, axes = plt.subplots(1, len(problems), figsize=(4.2 * len(problems), 3.6), squeeze=False, sharey=True)
    for axis, problem in zip(axes[0], problems, strict=True):
        for controller in dict.fromkeys(job.controller for job, _ in found):
            curves = [run.best for run in _runs(found, problem, controller)]
            steps = [sorted(values) for values in zip(*curves, strict=True)]
            low, high = (int(share * (len(curves) - 1) + 0.5) for share in (0.025, 0.975))
            x = range(1, len(steps) + 1)
            (line,) = axis.plot(x, [statistics.median(values) for values in steps], label=controller)
            axis.fill_between(
                x, [v[low] for v in steps], [v[high] for v in steps], alpha=0.12, color=line.get_color(), linewidth=0
            )
        axis.set(title=problem, xlabel="trials", xscale="log")
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("value of the best so far, without noise")
    axes[0][0].legend(loc="upper left")
    figure.tight_layout()
    figure.savefig(RESULTS / f"{name}.png", dpi=110)


def _runs(found: Sequence[tuple[Job, Run]], problem: str, controller: str) -> list[Run]:
    return [run for job, run in found if (job.problem, job.controller) == (problem, controller)]


def _median(counts: Iterable[int | None]) -> float:
    """Of trials, where never is more than any."""
    return statistics.median(float("inf") if count is None else count for count in counts)


def _shown(value: float, digits: int = 0) -> str:
    return f"{value:.{digits}f}" if value < float("inf") else "never"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="controllers", help="of the result files")
    parser.add_argument("--space", choices=SPACES, default="nas_fpn")
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--slots", type=int, default=32, help="trials in work at once")
    parser.add_argument("--problems", nargs="+", choices=EVERY_PROBLEM, default=list(PROBLEMS))
    parser.add_argument("--controllers", nargs="+", choices=VARIANTS, default=list(CONTROLLERS))
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    if (RECORDED in arguments.problems) != (arguments.space == "signs_wide"):
        parser.error("the problem recorded goes with --space signs_wide, and no other does")
    found = search_all(arguments)
    body = (
        f"{arguments.trials} trials over the space `{arguments.space}` of {SPACES[arguments.space]().size():.2e} "
        f"genotypes, {arguments.seeds} seeds (each another hidden target, if the problem has one),\n"
        f"{arguments.slots} trials in work at once that finish in random order. "
        f"The top quantiles are those of {SAMPLES:,} random genotypes\nof the same problem; medians over the seeds. "
        "Problems: `experiments/benchmarks/{problems,recorded}.py`.\n\n"
        f"{table(found, arguments.trials)}\n\n"
        f"Entropy of the policies, first to last trial:\n\n{entropy_lines(found)}\n\n"
        f"![best so far]({arguments.name}.png)"
    )
    plot(found, arguments.name)
    print(
        write_result(
            arguments.name,
            f"Controllers on the problems {', '.join(arguments.problems)}",
            body,
            [_record(*pair) for pair in found],
        )
    )


def _record(job: Job, run: Run) -> dict[str, Any]:
    """For programs, with the curve at every tenth trial."""
    return {**asdict(job), **asdict(run), "best": run.best[9::10]}


if __name__ == "__main__":
    main()
