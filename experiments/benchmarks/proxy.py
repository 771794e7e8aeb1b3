"""Candidates that the proxy task trains per hour, and what each of its shortcuts does to time and ranking.

`speed` times every setting and candidates that are trained the plain way; `ranking` trains diverse necks under every
setting and for ten times as long (hours on two cores; what is trained is kept in --out, so that it can go on).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from experiments.benchmarks.results import RESULTS, write_result
from experiments.signs import search
from nas.commands.trainings import STORE, train
from nas.comparison.check import CheckPlan, CheckResult, check, longer
from nas.comparison.content import content_of
from nas.comparison.necks import KNOWN_GROUP, diverse_necks
from nas.comparison.pictures import proxy_against_reference
from nas.comparison.result_store import ResultStore
from nas.comparison.training_job import TrainingJob
from nas.proxy.config import ProxyConfig
from nas.search.config import data_of
from nas.search.resources import ResourceConfig
from nas.workers.ray_session import ENVIRONMENT
from search_space import NasFpnSpace, PyramidSpace, known_genotype

CONFIG = search()
PROXY = CONFIG.proxy
NUM_NECKS = 17
LONGER = 10
SEEDS = 2
WORKERS = 2
TIMED_NECK = "nas_fpn"
BASELINE_NECKS = ("fpn", "nas_fpn")

RANKED: dict[str, ProxyConfig] = {
    "as it is": PROXY,
    "half the steps": replace(PROXY, steps=PROXY.steps // 2),
    "a quarter of the steps": replace(PROXY, steps=PROXY.steps // 4),
    "warm head": replace(PROXY, warm_steps=300),
    "warm head, half the steps": replace(PROXY, warm_steps=300, steps=PROXY.steps // 2),
    "no flips": replace(PROXY, augment="none"),
    "bf16": replace(PROXY, precision="bf16"),
}
"""Settings that change what is learned."""

SAME_NUMBERS: dict[str, ProxyConfig] = {
    "not channels_last": replace(PROXY, channels_last=False),
    "post-processing image by image": replace(PROXY, postprocess="image"),
    "AP by pycocotools": replace(PROXY, scorer="pycocotools"),
    "targets at every use": replace(PROXY, cache_targets=False),
}
"""Settings that give the same AP up to rounding."""

UNCACHED = {"backbone trained, images read": replace(PROXY, backbone=replace(PROXY.backbone, frozen=False), steps=24)}
"""Timed over a few steps only."""


@cache
def content() -> str:
    return content_of(CONFIG)


def plan_of(proxy: ProxyConfig) -> CheckPlan:
    necks = diverse_necks(CONFIG, NUM_NECKS, (NasFpnSpace(), PyramidSpace()))
    return CheckPlan(
        config=CONFIG,
        necks=necks,
        proxy=proxy,
        reference=longer(PROXY, LONGER),
        seeds=SEEDS,
        reference_seeds=SEEDS,
        content=content(),
    )


def rank(out: Path) -> None:
    """Train every neck under every setting, and record how each setting ranks them."""
    jobs = plan_of(PROXY).reference_jobs()
    jobs += [job for proxy in RANKED.values() for job in plan_of(proxy).proxy_jobs()]
    store = train(jobs, ResourceConfig(workers=WORKERS), out, None)
    results = {name: check(plan_of(proxy), store) for name, proxy in RANKED.items()}
    found = results["as it is"]
    labels = f"{PROXY.steps} steps", f"{LONGER * PROXY.steps} steps"
    proxy_against_reference(found.scores, *labels).savefig(RESULTS / "proxy_ranking.png", dpi=150)
    num_known = sum(row.neck.group == KNOWN_GROUP for row in found.scores)
    body = (
        f"{len(found.scores)} necks ({num_known} known, the rest drawn in turn from the published space and from "
        f"`pyramid`),\n{SEEDS} seeds of each training, frozen backbone, {PROXY.neck.channels} channels. The reference "
        f"trains {LONGER * PROXY.steps} steps instead of {PROXY.steps}, without a warm head.\n"
        "Kendall's tau is between one seed of the setting and the means of the reference. By noise alone: what it\n"
        "would be if setting and reference ranked alike but for their noise from seed to seed.\n\n"
        f"{_ranking_table(results)}\n\n"
        f"Noise ceiling: one more long training of one seed would reach {found.agreement.ceiling:.2f} on average, "
        f"{found.agreement.ceiling_low:.2f}\nor more 19 times of 20. Its noise from seed to seed is "
        f"{found.reference_std:.2f} AP.\n\n"
        f"{_score_table(found)}\n\n![AP by proxy and by long training](proxy_ranking.png)"
    )
    plain = {name: _plain(result) for name, result in results.items()}
    print(write_result("proxy_ranking", "Does the proxy task rank necks as a long training does?", body, plain))


def time_settings(out: Path, repeats: int, only: Sequence[str]) -> dict[str, list[float]]:
    """Seconds of one candidate under every setting, all in turn with every core at work.

    A first turn is not counted: workers build their tasks in it.
    """
    settings = {
        name: proxy for name, proxy in {**RANKED, **SAME_NUMBERS}.items() if not only or name in ("as it is", *only)
    }
    names = [name for _ in range(1 + repeats) for name in settings] + list(UNCACHED)
    genotype, data = known_genotype(TIMED_NECK), data_of(CONFIG)
    jobs = [
        TrainingJob(name, TIMED_NECK, genotype, {**settings, **UNCACHED}[name], data, WORKERS * place + worker)
        for place, name in enumerate(names)
        for worker in range(WORKERS)
    ]
    path = out / "timings"
    (path / STORE).unlink(missing_ok=True)
    store = train(jobs, ResourceConfig(workers=WORKERS), path, None)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for job in jobs[len(settings) * WORKERS :]:
        seconds[job.label].append(_whole_trial(store, job))
    return seconds


def time_baseline(steps: int) -> dict[str, list[dict[str, float]]]:
    """Candidates trained the plain way, one process on each core; wall time from its start to its end.

    Args:
        steps: to train; with fewer than the proxy has, `seconds` are those of all of its steps nevertheless.
    """
    environment = {**os.environ, **ENVIRONMENT, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "experiments.benchmarks.baseline", "--steps", str(steps)]
    start = time.perf_counter()
    processes = {
        name: subprocess.Popen([*command, name], stdout=subprocess.PIPE, env=environment, text=True)
        for name in BASELINE_NECKS[:WORKERS]
    }
    found: dict[str, list[dict[str, float]]] = {}
    for name, process in processes.items():
        output, _ = process.communicate()
        if process.returncode:
            raise RuntimeError(f"the baseline of {name} ended with status {process.returncode}")
        run = json.loads(output.splitlines()[-1])
        wall = time.perf_counter() - start
        found[name] = [{**run, "seconds": wall + run["train_seconds"] * (PROXY.steps / steps - 1)}]
    return found


def speed(out: Path, repeats: int, only: Sequence[str], baseline_steps: int) -> None:
    """Candidates per hour: settings in turn, then the baseline."""
    seconds = time_settings(out, repeats, only)
    baseline = time_baseline(baseline_steps)
    plain = statistics.median(run["seconds"] for runs in baseline.values() for run in runs)
    usual = statistics.median(seconds["as it is"])
    rows = [f"| the plain way | {plain:.0f} | {_hourly(plain)} | 1.0 | |"]
    for name, values in seconds.items():
        median = statistics.median(values)
        spread = f"{min(values):.1f} .. {max(values):.1f}"
        rows.append(
            f"| {name} | {median:.1f} | {_hourly(median)} | {plain / median:.1f} | {median / usual:.2f} ({spread}) |"
        )
    scores = ", ".join(f"{name} AP {run['AP']:.1f}" for name, runs in baseline.items() for run in runs)
    body = (
        f"Neck `{TIMED_NECK}`, {WORKERS} workers of one thread. The plain way: `experiments.benchmarks.baseline`, a\n"
        f"process per candidate, torchvision's RetinaNet and transform, trained backbone, {PROXY.steps} steps\n"
        f"(timed over {baseline_steps} of them; {scores}). All others: warm workers of the search engine;\n"
        "each row changes one thing. "
        "Seconds are medians, wall time of a process for the plain way and of a trial for the others.\n\n"
        "| | s per candidate | candidates per hour | times the plain way | time, over `as it is` (range, s) |\n"
        "|---|---|---|---|---|\n" + "\n".join(rows)
    )
    print(write_result("proxy_speed", "Candidates per hour", body, {"baseline": baseline, "seconds": seconds}))


def _whole_trial(store: ResultStore, job: TrainingJob) -> float:
    """Seconds of a trial; of one with few steps, those of one with all."""
    metrics = store.metrics(job)
    return float(metrics["seconds"] + metrics["train_seconds"] * (PROXY.steps / job.proxy.steps - 1) * _is_cut(job))


def _is_cut(job: TrainingJob) -> bool:
    return job.label in UNCACHED


def _hourly(seconds: float) -> str:
    return f"{WORKERS * 3600 / seconds:.0f}"


def _ranking_table(results: dict[str, CheckResult]) -> str:
    lines = [
        "| setting | tau | 90 % interval | by noise alone | tau, random necks | std of seeds | spread of random |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, result in results.items():
        found = result.agreement
        among = "" if result.among_random is None else f"{result.among_random.tau:.2f}"
        lines.append(
            f"| {name} | {found.tau:.2f} | {found.low:.2f} .. {found.high:.2f} | {found.own_ceiling:.2f} | {among} "
            f"| {result.proxy_std:.2f} | {result.random_spread:.1f} |"
        )
    return "\n".join(lines)


def _score_table(result: CheckResult) -> str:
    lines = ["| neck | cells | proxy, each seed | long, each seed |", "|---|---|---|---|"]
    for row in sorted(result.scores, key=lambda row: -statistics.mean(row.reference)):
        each = (", ".join(f"{ap:.1f}" for ap in aps) for aps in (row.proxy, row.reference))
        cells = "-" if isinstance(row.neck.topology, str) else len(row.neck.topology.cells)
        lines.append(f"| {row.neck.label} | {cells} | {' | '.join(each)} |")
    return "\n".join(lines)


def _plain(result: CheckResult) -> dict[str, Any]:
    return {
        "agreement": vars(result.agreement),
        "seed_std": result.proxy_std,
        "separation": result.separation,
        "shares": result.shares,
        "scores": {row.neck.label: {"proxy": row.proxy, "long": row.reference} for row in result.scores},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("ranking", "speed"), nargs="*", default=["speed", "ranking"])
    parser.add_argument("--out", type=Path, default=Path("runs/proxy-benchmark"), help="where trainings are kept")
    parser.add_argument("--repeats", type=int, default=2, help="of each setting's timing")
    parser.add_argument("--only", action="append", default=[], help="time no settings but these and `as it is`")
    parser.add_argument("--baseline-steps", type=int, default=PROXY.steps, help="that the plain way is timed over")
    arguments = parser.parse_args()
    if "speed" in arguments.part:
        speed(arguments.out, arguments.repeats, arguments.only, arguments.baseline_steps)
    if "ranking" in arguments.part:
        rank(arguments.out)


if __name__ == "__main__":
    main()
