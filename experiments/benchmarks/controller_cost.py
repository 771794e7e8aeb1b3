"""Cost of a trial to the controller itself: CPU time of propose + observe, and memory, as the trials go on."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import resource
import time
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

from controllers import Outcome, Proposal
from experiments.benchmarks.controllers import SPACES, VARIANTS
from experiments.benchmarks.problems import NoisyEdges
from experiments.benchmarks.results import write_result

SLOTS = 32
KIB_PER_MIB = 2**10


@dataclass(frozen=True)
class Stage:
    """A tenth of a search.

    Attributes:
        trials: so far.
        milliseconds: of CPU per trial, propose + observe, mean over this tenth.
        memory: largest resident set of the process so far, in MiB.
    """

    trials: int
    milliseconds: float
    memory: float


def measure(space_name: str, name: str, trials: int) -> list[Stage]:
    """A search on `noisy`, in a process of its own, on one thread; outcomes come in random order."""
    space = SPACES[space_name]()
    problem, controller = NoisyEdges(space, 0), VARIANTS[name](space, seed=0)
    rng = random.Random(0)
    pending: list[Proposal] = []
    stages, spent = [], 0.0
    for trial in range(1, trials + 1):
        start = time.process_time()
        pending += controller.propose(SLOTS - len(pending))
        spent += time.process_time() - start
        proposal = pending.pop(rng.randrange(SLOTS))
        outcome = Outcome(proposal, problem.observe(proposal.genotype, rng))
        start = time.process_time()
        controller.observe([outcome])
        spent += time.process_time() - start
        if trial % (trials // 10) == 0:
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_PER_MIB
            stages.append(Stage(trial, 1000 * spent / (trials // 10), memory))
            spent = 0.0
    return stages


def row(space: str, name: str, stages: list[Stage]) -> str:
    first, second, last = stages[0], stages[1], stages[-1]
    worst = max(stage.milliseconds for stage in stages)
    return (
        f"| {space} | {name} | {first.milliseconds:.2f} | {last.milliseconds:.2f} | {worst:.2f} "
        f"| {second.memory:.0f} | {last.memory:.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="controller_cost", help="of the result files")
    parser.add_argument("--trials", type=int, default=10_000, help="a multiple of 10")
    parser.add_argument("--spaces", nargs="+", choices=SPACES, default=list(SPACES))
    parser.add_argument("--controllers", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    records: list[dict[str, Any]] = []
    rows = []
    context = multiprocessing.get_context("spawn")
    for space, name in product(arguments.spaces, arguments.controllers):
        with context.Pool(1) as pool:
            stages = pool.apply(measure, (space, name, arguments.trials))
        rows.append(row(space, name, stages))
        print(rows[-1], flush=True)
        records.append({"space": space, "controller": name, "stages": [asdict(stage) for stage in stages]})
    tenth = arguments.trials // 10
    header = (
        f"{arguments.trials} trials each on the problem `noisy`, {SLOTS} in work at once, one process and one thread "
        f"each.\nCPU milliseconds of propose + observe per trial, mean over {tenth} trials; largest resident memory of "
        "the process so far in MiB\n(most of it torch, which every process here has loaded).\n\n"
        f"| space | controller | ms, first {tenth} | ms, last {tenth} | ms, slowest {tenth} "
        f"| MiB after {2 * tenth} | MiB after {arguments.trials} |\n|---|---|---|---|---|---|---|\n"
    )
    print(write_result(arguments.name, "Cost of the controllers", header + "\n".join(rows), records))


if __name__ == "__main__":
    main()
