"""Does the embedded data set tell necks apart? Known necks under the default proxy task, several seeds each."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import replace

from experiments.benchmarks.results import write_result
from experiments.signs import search
from nas.proxy.task import ProxyTask
from nas.search.config import data_of
from search_space import known_genotype

NECKS = ("none", "same_level", "fpn", "pafpn", "bifpn", "nas_fpn")
PLATES, TILES = ("plate_0", "plate_1", "plate_4"), ("tile_circle", "tile_square", "tile_diamond")

Scores = dict[str, list[dict[str, float | None]]]


def measure(task: ProxyTask, necks: Sequence[str], seeds: Sequence[int]) -> Scores:
    """Metrics of every training, per neck in the order of the seeds; seeds run outermost, so that drift hits all."""
    scores: Scores = {name: [] for name in necks}
    for seed in seeds:
        for name in necks:
            metrics = task.run(known_genotype(name), seed).metrics
            scores[name].append(metrics)
            print(f"seed {seed} {name:10s} AP {metrics['AP']:.1f}  {metrics['train_seconds']:.0f} s", flush=True)
    return scores


def mean(trainings: Sequence[dict[str, float | None]], *keys: str) -> float:
    return statistics.mean(float(metrics[key] or 0) for metrics in trainings for key in keys)


def std(trainings: Sequence[dict[str, float | None]]) -> float:
    """Seed-to-seed standard deviation of AP."""
    return statistics.stdev(float(metrics["AP"] or 0) for metrics in trainings)


def table(scores: Scores) -> str:
    lines = [
        "| neck | AP, mean ± std of seeds | each seed | plates | tiles | params (k) | MACs (M) | train s (median) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, runs in scores.items():
        plates, tiles = (mean(runs, *(f"AP/{label}" for label in group)) for group in (PLATES, TILES))
        each = ", ".join(f"{metrics['AP']:.1f}" for metrics in runs)
        seconds = statistics.median(float(metrics["train_seconds"] or 0) for metrics in runs)
        lines.append(
            f"| {name} | {mean(runs, 'AP'):.1f} ± {std(runs):.2f} | {each} | {plates:.1f} | {tiles:.1f} "
            f"| {mean(runs, 'params') / 1e3:.0f} | {mean(runs, 'macs') / 1e6:.1f} | {seconds:.0f} |"
        )
    return "\n".join(lines)


def verdict(scores: Scores) -> str:
    """Each step of none < FPN < the better of PAFPN and BiFPN, over the larger deviation of its two sides."""
    both = max(("pafpn", "bifpn"), key=lambda name: mean(scores[name], "AP"))
    lines = []
    for low, high in (("none", "fpn"), ("same_level", "fpn"), ("fpn", "pafpn"), ("fpn", both)):
        step = mean(scores[high], "AP") - mean(scores[low], "AP")
        noise = max(std(scores[low]), std(scores[high]))
        ratio = step / noise if noise else float("inf")
        lines.append(f"* {low} -> {high}: {step:+.1f} AP, {ratio:.1f} standard deviations")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=search().proxy.steps)
    arguments = parser.parse_args()
    config = search()
    task = ProxyTask(replace(config.proxy, steps=arguments.steps), data_of(config))
    scores = measure(task, NECKS, range(arguments.seeds))
    body = (
        "Every neck is trained by the proxy task of `experiments.signs:search` on the train split and scored on the\n"
        "reward split. `none` has no neck at all, `same_level` a convolution per level without any cross-scale\n"
        "connection (the control for capacity). Plates are classed by the small digit on them, tiles by the outline\n"
        f"of the plate they lie on.\n\n{table(scores)}\n\nSteps, in standard deviations from seed to seed "
        f"(the larger one of the two necks):\n\n{verdict(scores)}"
    )
    name = "signs_separation" if arguments.steps == config.proxy.steps else f"signs_separation_{arguments.steps}_steps"
    print(write_result(name, "Necks on the embedded data set", body, scores))


if __name__ == "__main__":
    main()
