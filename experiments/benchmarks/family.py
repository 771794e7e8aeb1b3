"""Does every neck of the family learn? All nine designs under the default proxy task, before and after training."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from experiments.benchmarks.results import write_result
from experiments.benchmarks.signs import Scores, mean, std
from experiments.signs import search
from nas.proxy.config import NeckConfig
from nas.proxy.task import ProxyTask
from nas.search.config import data_of
from necks import Neck, build_neck

NECKS: dict[str, dict[str, Any]] = {
    "none": {},
    "fpn": {},
    "panet": {},
    "pafpn": {},
    "nas_fpn": {},
    "bifpn": {},
    "balanced_fpn": {},
    "mlfpn": {"tums": 2},
    "asff": {},
    "efm": {},
    "fpn@torchvision": {"extra": "p6p7_p5"},
    "pafpn@mmdet": {"extra": "p6p7_p5"},
    "panet@authors": {"group_norm": True, "out_levels": (3, 4, 5, 6, 7)},
    "nas_fpn@mmdet": {},
    "bifpn@effdet": {},
}
"""The nine designs (and none) as `build_neck` makes them by default, then as public implementations do."""


def build(name: str, config: NeckConfig, in_channels: tuple[int, ...], in_levels: tuple[int, ...]) -> Neck:
    return build_neck(name, in_channels=in_channels, in_levels=in_levels, out_channels=config.channels, **NECKS[name])


def measure(task: ProxyTask, seeds: Sequence[int]) -> Scores:
    """Metrics of every training, per neck in the order of the seeds; seeds run outermost, so that drift hits all."""
    scores: Scores = {name: [] for name in NECKS}
    for seed in seeds:
        for name in NECKS:
            metrics = task.run_neck(partial(build, name, task.config.neck), seed).metrics
            scores[name].append(metrics)
            print(f"{task.config.steps} steps, seed {seed}, {name}: AP {metrics['AP']:.1f}", flush=True)
    return scores


def table(untrained: Scores, trained: Scores) -> str:
    lines = [
        "| neck | AP untrained | AP trained, mean ± std of seeds | each seed | params (k) | MACs (M) |",
        "|---|---|---|---|---|---|",
    ]
    for name, runs in trained.items():
        each = ", ".join(f"{metrics['AP']:.1f}" for metrics in runs)
        options = ", ".join(f"{key}={value}" for key, value in NECKS[name].items() if key != "out_levels")
        lines.append(
            f"| {name}{f' ({options})' if options else ''} | {mean(untrained[name], 'AP'):.2f} "
            f"| {mean(runs, 'AP'):.1f} ± {std(runs):.2f} | {each} "
            f"| {mean(runs, 'params') / 1e3:.0f} | {mean(runs, 'macs') / 1e6:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    config = search()
    bare = replace(config.proxy, steps=0, head=replace(config.proxy.head, score_threshold=0.0))
    untrained = measure(ProxyTask(bare, data_of(config)), range(1))
    trained = measure(ProxyTask(config.proxy, data_of(config)), range(arguments.seeds))
    body = (
        "Every neck is trained by the proxy task of `experiments.signs:search` (frozen backbone, 400 steps,\n"
        "32 channels, P3..P7) and scored on the reward split. Untrained: one seed, no step, and no score threshold,\n"
        "without which an untrained RetinaNet detects nothing at all. The necks differ in more than their wiring:\n"
        f"norm, activation, depth; this says that each learns, not which is best.\n\n{table(untrained, trained)}"
    )
    scores = {"untrained": untrained, "trained": trained}
    print(write_result("family", "Every neck of the family, trained", body, scores))


if __name__ == "__main__":
    main()
