"""Overhead of the necks, on maps so small that nothing else counts: beside their exported files and public necks.

`python -m experiments.benchmarks.overhead` with the extra `bench`. One thread, one image; all that is compared runs in
turns in one process.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from statistics import median
from time import thread_time
from typing import Any

import torch
from torch import Tensor, nn

from experiments.benchmarks.floor import traffic
from experiments.benchmarks.neck_pairs import LEVELS, Pair, pairs, run_ours
from experiments.benchmarks.results import write_result
from nas.export.python_file import python_file
from necks import Neck
from necks.blocks import layers_of
from necks.fused import with_kernels
from necks.program import Step
from necks.straight import Straight

CHANNELS, WIDTH, SIDE = (8, 16, 32), 16, 256
PASSES, ROUNDS = 20, 60
NOTES = f"""Maps with {CHANNELS} channels, those of an image of {SIDE} px at strides 8, 16 and 32; necks {WIDTH} wide;
inference, NHWC, the processor's time of one thread. `over` is the median of the ratios of two times within a round of
{PASSES} passes each; below 1 our module is the quicker one.

Operations are those of PyTorch in one pass, views aside: on a GPU in eager mode each is a launch or more. `kernels` are
the launches of the fused neck where its kernels pay, counted in its program."""

LAUNCHES = {"term": 0, "pooled_term": 0, "shares": 0, "fit": 0}
"""Of operations of a program that have other than one."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="overhead")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = {name: measured(pair, arguments.rounds) for name, pair in pairs(CHANNELS, WIDTH).items()}
    titles = ["neck", "ms", "over its file", "over the public neck", "fused over ours", "operations: ours", "fused"]
    titles += ["public", "kernels"]
    lines = [f"| {' | '.join(titles)} |", f"|---{'|---:' * 8}|", *(_line(name, row) for name, row in rows.items())]
    print(write_result(arguments.name, "Necks: overhead", f"{NOTES}\n\n" + "\n".join(lines), rows).read_text())


def measured(pair: Pair, rounds: int) -> dict[str, Any]:
    """Median milliseconds, ratios of our module's times, and operations."""
    neck, peer = pair.build(SIDE)
    neck.eval()
    sizes = [(1, width, SIDE >> level, SIDE >> level) for width, level in zip(CHANNELS, LEVELS, strict=True)]
    maps = [torch.rand(size).contiguous(memory_format=torch.channels_last) for size in sizes]
    fused = neck.fuse()
    steps: dict[str, Callable[[], Sequence[Tensor]]] = {
        "ours": lambda: run_ours(neck, maps),
        "file": (lambda file: lambda: run_ours(file, maps))(built(neck)),
        "fused": lambda: run_ours(fused, maps),
    }
    if peer is not None:
        public = peer.eval()
        steps["public"] = lambda: pair.run(public, maps)
    with torch.inference_mode():
        for step in steps.values():
            step()
        times = [{name: _timed(step) for name, step in steps.items()} for _ in range(rounds)]
    row: dict[str, Any] = {"ms": {name: 1000 * median(time[name] for time in times) for name in steps}}
    row["over"] = {name: median(time["ours"] / time[name] for time in times) for name in steps}
    row["operations"] = {name: operations(step) for name, step in steps.items()}
    row["kernels"] = sum(launches(part) for part in fused.modules() if isinstance(part, Straight))
    return row


def built(neck: Neck) -> nn.Module:
    """The module of the neck's exported file, with its weights."""
    file, namespace = python_file(neck), {"__name__": "exported"}
    exec(compile(file.text, "neck.py", "exec"), namespace)
    module: nn.Module = namespace["Neck"]()  # type: ignore[operator]
    module.load_state_dict(file.weights(neck))
    return module.eval()


def operations(step: Callable[[], object]) -> int:
    """Operations of PyTorch, views aside."""
    with traffic() as counted:
        step()
    return counted.calls.total()


def launches(part: Straight) -> int:
    """Kernels of a program, of ours where they pay."""
    program = with_kernels(part.program) if hasattr(part, "cells") else part.program
    return sum(_launches(step, part) for step in program.steps)


def _launches(step: Step, part: nn.Module) -> int:
    if step.block:
        return len(layers_of(part.get_submodule(step.block))) - (step.operation == "transform" and step.overwrites)
    if step.operation == "function":
        return 2 if step.name.endswith("gate") else int("laid_out" not in step.name)
    return LAUNCHES.get(step.operation, 1)


def _timed(step: Callable[[], object]) -> float:
    start = thread_time()
    for _ in range(PASSES):
        step()
    return thread_time() - start


def _line(name: str, row: dict[str, Any]) -> str:
    over, operations = row["over"], row["operations"]
    public = f"{over['public']:.2f}" if "public" in over else "-"
    return (
        f"| {name} | {row['ms']['ours'] / PASSES:.2f} | {over['file']:.2f} | {public} | {1 / over['fused']:.2f} "
        f"| {operations['ours']} | {operations['fused']} | {operations.get('public', '-')} | {row['kernels']} |"
    )


if __name__ == "__main__":
    main()
