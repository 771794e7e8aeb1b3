"""Candidates per hour on one GPU with 1, 4 and 8 of them side by side; for a machine with a GPU."""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from threading import Event, Thread
from typing import Any

import torch

from experiments.benchmarks.results import write_result
from experiments.signs import search
from nas.commands.trainings import STORE
from nas.comparison.result_store import ResultStore
from nas.comparison.run_all import run_all
from nas.comparison.training_job import Result, TrainingJob
from nas.configuration import override
from nas.data.config import DataConfig
from nas.proxy.config import ProxyConfig
from nas.search.config import data_of
from nas.search.resources import ResourceConfig
from search_space import NasFpnSpace

WORKERS = (1, 4, 8)
SETTINGS: dict[str, Sequence[str]] = {
    "fp32": ("precision=fp32", "cuda_graph=off"),
    "bf16": ("precision=bf16", "cuda_graph=off"),
    "bf16, CUDA graph": ("precision=bf16", "cuda_graph=on"),
}
QUERY = ("nvidia-smi", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits")
HEAD = (
    "| setting | workers | s per candidate (median) | candidates per hour | GPU busy, % | peak MiB of a trial "
    "| MiB used on the device | failed |\n|---|---|---|---|---|---|---|---|"
)


class Watch(Thread):
    """Samples once a second: time, the GPU's busy share in percent, its used memory in MiB."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.samples: list[tuple[float, float, float]] = []
        self._ended = Event()

    def run(self) -> None:
        while shutil.which(QUERY[0]) and not self._ended.wait(1):
            answer = subprocess.run(QUERY, capture_output=True, text=True, check=False).stdout
            parts = answer.splitlines()[0].split(",") if answer else []
            if len(parts) == 2 and all(part.strip().replace(".", "").isdigit() for part in parts):
                self.samples.append((time.perf_counter(), float(parts[0]), float(parts[1])))

    def end(self) -> None:
        self._ended.set()
        self.join()


def measure(
    out: Path,
    name: str,
    proxy: ProxyConfig,
    workers: int,
    each: int,
    data: DataConfig | None = None,
    gpus: float | None = None,
) -> dict[str, Any]:
    """Train different random candidates, `each` per worker.

    What counts is the time in which every worker is at work: from the end of the candidate with which the last worker
    has paid for its start, taken as two per worker, to the end of the last but `workers`.
    """
    rng = random.Random(0)
    data = data or data_of(search())
    genotypes = [NasFpnSpace().sample(rng) for _ in range(each * workers)]
    jobs = [TrainingJob(str(index), name, genotype, proxy, data, 0) for index, genotype in enumerate(genotypes)]
    path = out / f"{name.replace(' ', '_').replace(',', '')}-{workers}"
    (path / STORE).unlink(missing_ok=True)
    ended: list[tuple[float, Result]] = []
    watch = Watch()
    watch.start()
    store = ResultStore(path / STORE)
    with store.claim():
        resources = ResourceConfig(workers=workers, gpus=1 / workers if gpus is None else gpus)
        run_all(jobs, store, resources, lambda job, result, left: ended.append((time.perf_counter(), result)))
    watch.end()
    counted = ended[2 * workers - 1 : len(ended) - workers]
    start, end = counted[0][0], counted[-1][0]
    metrics = [result.metrics for _, result in counted[1:] if result.metrics]
    within = [sample for sample in watch.samples if start <= sample[0] <= end]
    return {
        "setting": name,
        "workers": workers,
        "seconds": _of(statistics.median, [found["seconds"] for found in metrics]),
        "hourly": 3600 * len(metrics) / (end - start),
        "busy": _of(statistics.mean, [busy for _, busy, _ in within]),
        "peak_memory_mb": _of(max, [found["peak_memory_mb"] for found in metrics]),
        "device_memory_mb": _of(max, [memory for _, _, memory in within]),
        "failed": len(ended) - sum(result.metrics is not None for _, result in ended),
        "reason": next((result.error for _, result in ended if result.error), None),
    }


def _of(statistic: Any, values: Sequence[float]) -> float | None:
    return statistic(values) if values else None


def line(row: dict[str, Any]) -> str:
    numbers = ("seconds", "hourly", "busy", "peak_memory_mb", "device_memory_mb", "failed")
    cells = ["-" if row[name] is None else f"{row[name]:.{1 if name == 'seconds' else 0}f}" for name in numbers]
    return f"| {row['setting']} | {row['workers']} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/proxy-gpu"))
    parser.add_argument("--each", type=int, default=8, help="candidates per worker, at least 5")
    parser.add_argument("--workers", type=int, nargs="+", default=WORKERS)
    parser.add_argument("--set", dest="assignments", action="append", default=[], help="fields of the proxy task")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("no GPU was found; this benchmark measures nothing else")
    if arguments.each < 5:
        parser.error("--each must be at least 5: the first two and the last of each worker do not count")
    proxy = override(search().proxy, arguments.assignments)
    rows: list[dict[str, Any]] = []
    for name, changes in SETTINGS.items():
        for workers in arguments.workers:
            rows.append(measure(arguments.out, name, override(proxy, changes), workers, arguments.each))
            print(line(rows[-1]), rows[-1]["reason"] or "", flush=True)
            body = (
                f"Random candidates of the published space, {proxy.steps} steps of {proxy.batch_size} images of "
                f"{proxy.image_size} px,\n{proxy.neck.channels} channels, backbone {proxy.backbone.name}"
                f"{' (frozen)' if proxy.backbone.frozen else ''}. Busy: nvidia-smi's share of time in which a\n"
                "kernel ran, while every worker was at work.\n\n" + "\n".join([HEAD, *map(line, rows)])
            )
            write_result("proxy_gpu", "Candidates per hour on one GPU", body, rows)


if __name__ == "__main__":
    main()
