"""Candidates per hour on one GPU with 1, 4 and 8 of them side by side; for a machine with a GPU."""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from experiments.benchmarks.results import write_result
from experiments.signs import search
from nas.commands.trainings import BANK, train
from nas.comparison.case import Case
from nas.configuration import ConfigError, override
from nas.proxy.config import ProxyConfig
from nas.search.config import ResourceConfig
from search_space import NasFpnSpace

WORKERS = (1, 4, 8)
SETTINGS: dict[str, Sequence[str]] = {
    "fp32": (),
    "bf16": ("precision=bf16",),
    "bf16, CUDA graphs": ("precision=bf16", "compile=reduce-overhead"),
}
QUERY = ("nvidia-smi", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits", "--loop=1")


@contextmanager
def watched(path: Path) -> Iterator[None]:
    """Writes the GPU's busy share in percent and its used memory in MiB once a second."""
    with path.open("w") as file, subprocess.Popen(QUERY, stdout=file) as process:
        try:
            yield
        finally:
            process.terminate()


def samples(path: Path) -> list[tuple[float, float]]:
    lines = [line.split(",")[:2] for line in path.read_text().splitlines() if line.count(",") >= 1]
    return [(float(busy), float(memory)) for busy, memory in lines]


def measure(out: Path, name: str, proxy: ProxyConfig, workers: int, candidates: int) -> dict[str, Any]:
    """Train different random candidates, after one per worker that is not counted: it pays for imports and features."""
    config, rng = search(), random.Random(0)
    genotypes = [NasFpnSpace().sample(rng) for _ in range(workers + candidates)]
    cases = [Case(f"{index}", name, genotype, proxy, config.data, 0) for index, genotype in enumerate(genotypes)]
    resources = ResourceConfig(workers=workers, gpus=1 / workers)
    path = out / f"{name.replace(' ', '_').replace(',', '')}-{workers}"
    (path / BANK).unlink(missing_ok=True)
    path.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    with watched(path / "gpu.csv"):
        bank = train(cases, resources, path, None)
    wall = time.perf_counter() - start
    counted = [bank.metrics(case) for case in cases[workers:]]
    seconds = [metrics["seconds"] for metrics in counted if metrics]
    busy = [share for share, _ in samples(path / "gpu.csv")]
    return {
        "setting": name,
        "workers": workers,
        "seconds": statistics.median(seconds),
        "hourly": workers * 3600 / statistics.mean(seconds),
        "busy": statistics.mean(busy[len(busy) // 4 :]),
        "peak_memory_mb": max(metrics["peak_memory_mb"] for metrics in counted if metrics),
        "device_memory_mb": max(memory for _, memory in samples(path / "gpu.csv")),
        "wall": wall,
        "failed": sum(not metrics for metrics in counted),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/proxy-gpu"))
    parser.add_argument("--candidates", type=int, default=16, help="counted at each number of workers")
    parser.add_argument("--workers", type=int, nargs="+", default=WORKERS)
    parser.add_argument("--set", dest="assignments", action="append", default=[], help="fields of the proxy task")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise ConfigError("no GPU was found; this benchmark measures nothing else")
    proxy = override(search().proxy, arguments.assignments)
    rows = [
        measure(arguments.out, name, override(proxy, changes), workers, arguments.candidates)
        for name, changes in SETTINGS.items()
        for workers in arguments.workers
    ]
    lines = [
        "| setting | workers | s per candidate (median) | candidates per hour | GPU busy, % | peak MiB of a trial "
        "| MiB used on the device | failed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['setting']} | {row['workers']} | {row['seconds']:.1f} | {row['hourly']:.0f} | {row['busy']:.0f} "
        f"| {row['peak_memory_mb']:.0f} | {row['device_memory_mb']:.0f} | {row['failed']} |"
        for row in rows
    ]
    body = (
        f"Random candidates of the published space, {proxy.steps} steps of {proxy.batch_size} images of "
        f"{proxy.image_size} px,\n{proxy.neck.channels} channels, backbone {proxy.backbone.name}"
        f"{' (frozen)' if proxy.backbone.frozen else ''}. Busy: nvidia-smi's share of time in which a kernel ran,\n"
        "without the first quarter of the time.\n\n" + "\n".join(lines)
    )
    print(write_result("proxy_gpu", "Candidates per hour on one GPU", body, rows))


if __name__ == "__main__":
    main()
