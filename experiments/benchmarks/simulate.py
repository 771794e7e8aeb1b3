"""A search on 100 or 1,000 spot machines in virtual time: when it ends, what is lost, how stale outcomes are."""

from __future__ import annotations

import argparse
import math
import random
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import matplotlib.pyplot as plt

from controllers import CONTROLLERS, Outcome, PPOController, Proposal
from experiments.benchmarks.problems import NoisyEdges
from experiments.benchmarks.results import RESULTS, write_result
from experiments.benchmarks.virtual_cluster import Cluster, Simulation, Timing, on_paper
from search_space import nas_fpn_space

PREEMPTIONS = 0.05
"""Preemptions of a spot machine per hour."""
TIMES = ("hours", "wasted", "away", "saving", "idle", "driver", "losses", "failed", "lost_work")
MARKS = (1 / 8, 1 / 2, 1)
"""Shares of the trials after which the best so far is shown."""
WINDOW = 200
"""Trials per point of the right picture."""
STYLES = {1: "k-", 100: "--", 1000: "-"}


@dataclass(frozen=True)
class Setup:
    """A controller with options on so many spot machines; one machine is never preempted."""

    workers: int
    controller: str
    options: dict[str, Any]

    @property
    def name(self) -> str:
        return ", ".join([self.controller, *(f"{key} {value}" for key, value in self.options.items())])

    @property
    def cluster(self) -> Cluster:
        return Cluster(self.workers, preemptions=PREEMPTIONS if self.workers > 1 else 0.0)


SETUPS = (
    Setup(1, "ppo", {}),
    Setup(100, "ppo", {}),
    Setup(1000, "ppo", {}),
    Setup(1000, "ppo", {"max_lag": 300}),
    Setup(1000, "ppo", {"batch_size": 50, "max_lag": 60}),
    Setup(1000, "ppo", {"batch_size": 100, "max_lag": 30}),
    Setup(1, "evolution", {}),
    Setup(100, "evolution", {}),
    Setup(1000, "evolution", {}),
    Setup(1000, "evolution", {"population_size": 100, "tournament_size": 25}),
)

SPOT: dict[str, Any] = {"preemptions": PREEMPTIONS}
KINDS: list[dict[str, Any]] = [{}, SPOT, {**SPOT, "checkpoint": 600}]
SIZES = ((100, 8000), (1000, 8000), (1000, 20_000))
CLUSTERS = [(trials, Cluster(workers, **kind)) for workers, trials in SIZES for kind in KINDS]
TIMING_HEADER = (
    "| workers | trials | after a preemption | ideal h | finish h | lost work | machines away | saving "
    "| idle | driver busy | losses per trial | s lost per loss | trials failed, share | failed | overtaken by |\n"
    f"{'|---' * 15}|"
)
SEARCH_HEADER = (
    "| workers | controller | updates behind | updates | dropped | best after 1/8 | after 1/2 | at the end "
    f"| lowest seed | mean of last tenth |\n{'|---' * 10}|"
)
BODY = """Trials are lognormal with a mean of an hour and a spread of 0.2. Machines are preempted {preemptions:g} times
an hour and replaced after 10 minutes; a trial that loses 3 workers has failed. The driver takes 20 ms per trial that it
hands out. Checkpoints: every 10 minutes of training, 5 s each. `experiments/benchmarks/virtual_cluster.py`.

## Time

Means of {timing_seeds} seeds, without a controller. Shares are of all workers' time until the last outcome. After a
slash: by arithmetic. A segment is what lies between two checkpoints, or the whole trial; L its length, r the rate of
preemptions, q = 1 - exp(-rL). A trial loses the sum of q / (1 - q) over its segments; a loss costs (1 - exp(-rL)(1 +
rL)) / (rq) seconds, half a segment nearly; the chance of less than 3 losses is the sum of the first 3 coefficients of
the product of (1 - q) / (1 - qx). Without checkpoints that leaves q^3. All are means over the lengths of trials. Hours
on paper do not count the end, when workers run out of trials. Overtaken by: outcomes observed between a proposal and
its own outcome; median / 90 % / maximum.

{times}

## Staleness

{trials} trials on the problem `noisy` over the space `nas_fpn`, {seeds} seeds (each another hidden target), medians;
one worker without preemption, many with it and without checkpoints. Updates behind: of the policy that proposed, when
its outcome came; median / 90 % / maximum. Best: value without noise of the trial with the best observation; another
look at it, the mean value of the trials of the last tenth. PPO's defaults: batch_size 10, max_lag 10.

{found}

![best so far]({name}.png)"""


class Search:
    """A controller on the problem `noisy`, run at once; a trial's noise depends on the seed and its number only.

    Attributes:
        timing: of its cluster.
        values: of the trials without noise, as their outcomes came; those of failed trials are left out.
        best: value of the trial with the best observation so far, after each of them.
        lags: of the policies behind the outcomes, in updates, when they came; PPO's alone.
    """

    def __init__(self, setup: Setup, trials: int, seed: int) -> None:
        self.setup, self._seed = setup, seed
        space = nas_fpn_space()
        self.controller = CONTROLLERS[setup.controller](space, seed=seed, **setup.options)
        self._problem, self._incumbent = NoisyEdges(space, seed), (-math.inf, 0.0)
        self.values: list[float] = []
        self.best: list[float] = []
        self.lags: list[int] = []
        self.timing = Simulation(setup.cluster, trials, seed, self._propose, self._tell).run()

    def _propose(self) -> Proposal:
        return self.controller.propose(1)[0]

    def _tell(self, proposal: Proposal, scored: bool) -> None:
        if not scored:
            self.controller.observe([Outcome(proposal, None, "failed")])
            return
        if isinstance(self.controller, PPOController):
            self.lags.append(self.controller.num_updates - int(proposal.info["policy_version"]))
        value = self._problem.value(proposal.genotype)
        observed = self._problem.observe(proposal.genotype, random.Random(f"{self._seed} {proposal.id}"))
        self._incumbent = max(self._incumbent, (observed, value))
        self.values.append(value)
        self.best.append(self._incumbent[1])
        self.controller.observe([Outcome(proposal, observed)])

    def record(self) -> dict[str, Any]:
        """For programs, with the curves at every hundredth trial."""
        return {
            "setup": asdict(self.setup),
            "seed": self._seed,
            "timing": _record(self.timing),
            "lags": spread(self.lags) if self.lags else None,
            "updates": getattr(self.controller, "num_updates", None),
            "dropped": getattr(self.controller, "num_dropped", None),
            "best": self.best[99::100],
            "values": [round(value, 3) for value in self.values[99::100]],
        }


def spread(counts: Iterable[int]) -> tuple[int, int, int]:
    """Median, 90 % quantile and maximum."""
    ordered = sorted(counts)
    last = len(ordered) - 1
    return ordered[last // 2], ordered[int(0.9 * last)], ordered[last]


def timings(trials: int, cluster: Cluster, seeds: int) -> dict[str, Any]:
    """Means over seeds of the simulation without a controller, which no time depends on."""
    runs = [Simulation(cluster, trials, seed).run() for seed in range(seeds)]
    return {
        "trials": trials,
        "cluster": asdict(cluster),
        "paper": asdict(on_paper(cluster, trials)),
        **{name: statistics.fmean(getattr(run, name) for run in runs) for name in TIMES},
        "overtaken": spread(number for run in runs for number in run.overtaken),
    }


def timing_row(trials: int, cluster: Cluster, found: dict[str, Any]) -> str:
    paper, (middle, most, longest) = found["paper"], found["overtaken"]
    return (
        f"| {cluster.workers} | {trials} | {cluster.kind} | {trials / cluster.workers:.0f} | {found['hours']:.2f} / "
        f"{paper['hours']:.2f} | {found['wasted']:.2%} | {found['away']:.2%} | {found['saving']:.2%} "
        f"| {found['idle']:.2%} | {found['driver']:.3%} | {found['losses'] / trials:.4f} / {paper['losses']:.4f} "
        f"| {found['lost_work']:.0f} / {paper['lost_work']:.0f} | {found['failed'] / trials:.1e} / "
        f"{paper['failed']:.1e} | {found['failed']:.2f} | {middle} / {most} / {longest} |"
    )


def search_row(runs: Sequence[Search]) -> str:
    """Medians over the seeds, of maxima the largest."""
    setup, trials = runs[0].setup, len(runs[0].timing.overtaken)
    shown, updates, dropped = "-", "-", "-"
    if runs[0].lags:
        middle, most, longest = zip(*(spread(run.lags) for run in runs), strict=True)
        shown = f"{statistics.median(middle):.0f} / {statistics.median(most):.0f} / {max(longest)}"
        records = [run.record() for run in runs]
        updates = f"{statistics.median(record['updates'] for record in records):.0f}"
        dropped = f"{statistics.median(record['dropped'] for record in records) / trials:.0%}"
    marks = [[run.best[int(share * len(run.best)) - 1] for share in MARKS] for run in runs]
    early, half, final = map(statistics.median, zip(*marks, strict=True))
    late = statistics.median(statistics.fmean(run.values[-trials // 10 :]) for run in runs)
    return (
        f"| {setup.workers} | {setup.name} | {shown} | {updates} | {dropped} | {early:.3f} | {half:.3f} | {final:.3f} "
        f"| {min(run.best[-1] for run in runs):.3f} | {late:.3f} |"
    )


def plot(groups: Sequence[Sequence[Search]], name: str) -> None:
    """Median over the seeds against trials: best so far, and mean of what is proposed."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), sharey=True)
    for runs in groups:
        label, style = f"{runs[0].setup.workers}: {runs[0].setup.name}", STYLES[runs[0].setup.workers]
        best = [statistics.median(values) for values in zip(*(run.best for run in runs), strict=False)]
        axes[0].plot(best, style, label=label)
        means = [[statistics.fmean(run.values[at : at + WINDOW]) for run in runs] for at in range(0, len(best), WINDOW)]
        axes[1].plot([at * WINDOW for at in range(len(means))], list(map(statistics.median, means)), style)
    axes[0].set(title="best so far", xlabel="trials", ylabel="value without noise", xscale="log")
    axes[1].set(title=f"mean of {WINDOW} trials", xlabel="trials")
    for axis in axes:
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(RESULTS / f"{name}.png", dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="simulated_clusters", help="of the result files")
    parser.add_argument("--trials", type=int, default=8000, help="of the searches with a controller")
    parser.add_argument("--seeds", type=int, default=3, help="of these")
    parser.add_argument("--timing-seeds", type=int, default=20, help="of the simulations without a controller")
    arguments = parser.parse_args()
    times = [timings(trials, cluster, arguments.timing_seeds) for trials, cluster in CLUSTERS]
    rows = [timing_row(*each, found) for each, found in zip(CLUSTERS, times, strict=True)]
    print("\n".join(rows), flush=True)
    groups = []
    for setup in SETUPS:
        groups.append([Search(setup, arguments.trials, seed) for seed in range(arguments.seeds)])
        print(search_row(groups[-1]), flush=True)
    body = BODY.format(
        times="\n".join([TIMING_HEADER, *rows]),
        found="\n".join([SEARCH_HEADER, *map(search_row, groups)]),
        preemptions=PREEMPTIONS,
        **vars(arguments),
    )
    data = {"times": times, "searches": [run.record() for runs in groups for run in runs]}
    plot(groups, arguments.name)
    print(write_result(arguments.name, "Searches on simulated clusters", body, data))


def _record(timing: Timing) -> dict[str, Any]:
    return {**{name: getattr(timing, name) for name in TIMES}, "overtaken": spread(timing.overtaken)}


if __name__ == "__main__":
    main()
