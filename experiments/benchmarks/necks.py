"""Speed of the necks: beside public ones with the same weights, and beside their own convolutions alone.

`python -m experiments.benchmarks.necks` with the extra `bench`; on a GPU where there is one. All that is compared runs
in turns in one process, in both memory layouts. Options narrow the grid; what takes too long is left out and named.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import product
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from experiments.benchmarks.memory import peak_bytes
from experiments.benchmarks.neck_pairs import PAIRS, Pair, run_ours
from experiments.benchmarks.neck_report import write_report
from experiments.benchmarks.neck_shares import shares_of_time
from experiments.benchmarks.neck_variants import (
    DTYPES,
    LAYOUTS,
    Setting,
    Step,
    built,
    random_maps,
    step_of,
    variants,
)
from nas.detection.cost import timed
from necks import MergeNeck

FEWEST_ROUNDS, MOST_ROUNDS = 3, 30
CHECKED_SIDE, EQUAL = 256, 1e-6
"""Side at which equality with the public neck is checked, and the largest difference there, in doubles, as a share of
the largest value. Seven repeats with random weights magnify single precision's rounding by what the processor makes it.
"""


def main() -> None:
    arguments = _parser().parse_args()
    device = torch.device(arguments.device)
    rows: list[dict[str, Any]] = []
    profiled, memory = {}, {}
    for name in arguments.necks:
        check_equal(PAIRS[name])
        for setting in settings(arguments):
            rows.append({"neck": name, **asdict(setting), **tried(PAIRS[name], setting, device, arguments)})
            print(name, setting, rows[-1].get("skipped") or rows[-1]["over_floor"], flush=True)
        if not arguments.only_times:
            profiled[name] = profile_of(PAIRS[name], arguments.sides[0], device)
            memory[name] = memory_of(PAIRS[name], arguments.sides[0], device)
        path = write_report(arguments.name, rows, profiled, memory, arguments.sides[0])
    print(f"\n{path.read_text()}\nwritten: {path}")


def settings(arguments: argparse.Namespace) -> Iterator[Setting]:
    """The grid; of what takes long to compile, the first side and batch, on a CPU in inference only."""
    gpu = arguments.device != "cpu"
    grid = product(arguments.sides, arguments.batches, arguments.phases, arguments.precisions, arguments.modes)
    for side, batch, phase, precision, mode in grid:
        small = (side, batch) == (arguments.sides[0], arguments.batches[0]) and (gpu or phase == "inference")
        if mode != "compiled" or small:
            yield Setting(side, batch, phase, precision, mode)


def tried(pair: Pair, setting: Setting, device: torch.device, arguments: argparse.Namespace) -> dict[str, Any]:
    """`measured`, and in its place the reason where a neck cannot be compiled or recorded."""
    try:
        return measured(pair, setting, device, arguments)
    except RuntimeError as error:
        if setting.mode == "eager":
            raise
        return {"skipped": str(error).splitlines()[0]}


def measured(pair: Pair, setting: Setting, device: torch.device, arguments: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds of every variant, and ratios; or why there are none."""
    torch._dynamo.reset()
    neck, peer = built(pair, setting, device)
    difference = None if peer is None else compared(neck, peer, pair, setting, device)
    steps = {
        name: step for layout in arguments.layouts for name, step in variants(pair, neck, peer, setting, layout, device)
    }
    for step in steps.values():
        step()
    again = sum(timed(step, device) for step in steps.values())
    if again > arguments.longest:
        return {"skipped": f"one round takes {again:.0f} s"}
    count = min(MOST_ROUNDS, max(FEWEST_ROUNDS, int(arguments.seconds / again)))
    rounds = [{name: timed(step, device) for name, step in steps.items()} for _ in range(count)]
    return {"difference": difference, "rounds": count, **summary(rounds)}


def summary(rounds: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Medians in ms, and medians of the ratios within rounds: over the floor and over the peer, each variant in the
    layout that it is quicker in, and in each layout alone."""
    ms = {name: 1000 * median(times[name] for times in rounds) for name in rounds[0]}
    kinds, layouts = (list(dict.fromkeys(name.split("/")[part] for name in ms)) for part in (0, 1))
    best = {kind: min((f"{kind}/{layout}" for layout in layouts), key=ms.__getitem__) for kind in kinds}

    def ratio(one: str, other: str) -> float:
        return median(times[one] / times[other] for times in rounds)

    data: dict[str, Any] = {"ms": ms, "best": best}
    data["over_floor"] = {kind: ratio(best[kind], best["floor"]) for kind in kinds if kind != "floor"}
    if "peer" in kinds:
        ours = [kind for kind in kinds if kind.startswith("ours")]
        data["times_faster"] = {kind: ratio(best["peer"], best[kind]) for kind in ours}
        data["times_faster_in"] = {
            layout: {kind: ratio(f"peer/{layout}", f"{kind}/{layout}") for kind in ours} for layout in layouts
        }
    return data


@torch.inference_mode()
def compared(neck: nn.Module, peer: nn.Module, pair: Pair, setting: Setting, device: torch.device) -> float:
    """Largest difference of the outputs as a share of each map's largest value."""
    maps = random_maps(setting, device, torch.contiguous_format)
    modes = neck.training, peer.training
    ours, theirs = run_ours(neck.eval(), maps), pair.run(peer.eval(), maps)
    neck.train(modes[0])
    peer.train(modes[1])
    return _difference(ours, theirs)


@torch.inference_mode()
def check_equal(pair: Pair) -> None:
    """
    Raises:
        AssertionError: if our neck computes something else than the public one.
    """
    setting, cpu = Setting(CHECKED_SIDE, 1, "inference", "fp32", "eager"), torch.device("cpu")
    neck, peer = built(pair, setting, cpu)
    if peer is None:
        return
    maps = [x.double() for x in random_maps(setting, cpu, torch.contiguous_format)]
    difference = _difference(run_ours(neck.double(), maps), pair.run(peer.double(), maps))
    if not difference <= EQUAL:
        raise AssertionError(f"differs from the public neck by {difference:.1e} of the largest value")


def _difference(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> float:
    differences = [(x - y).abs().max() / y.abs().max() for x, y in zip(ours, theirs, strict=True)]
    return float(torch.stack(differences).max())  # NaN if one of them is


def profile_of(pair: Pair, side: int, device: torch.device) -> dict[str, dict[str, float]]:
    """Shares of our neck's time by what is done, in both phases, in NHWC for inference and NCHW for training."""
    shares = {}
    for phase, layout in (("inference", "NHWC"), ("training", "NCHW")):
        setting = Setting(side, 1, phase, "fp32", "eager")
        neck, _ = built(pair, setting, device)
        maps = random_maps(setting, device, LAYOUTS[layout])
        shares[phase] = shares_of_time(step_of(neck.to(memory_format=LAYOUTS[layout]), run_ours, maps, setting, device))
    return shares


def memory_of(pair: Pair, side: int, device: torch.device) -> dict[str, int]:
    """Bytes at the worst moment of a training step with one image."""
    setting = Setting(side, 1, "training", "fp32", "eager")
    neck, peer = built(pair, setting, device)
    maps = random_maps(setting, device, torch.contiguous_format)
    taken = {"ours": _peak(step_of(neck, run_ours, maps, setting, device), device)}
    assert isinstance(neck, MergeNeck)
    neck.checkpointing = True
    taken["ours, recomputed"] = _peak(step_of(neck, run_ours, maps, setting, device), device)
    if peer is not None:
        taken["peer"] = _peak(step_of(peer, pair.run, maps, setting, device), device)
    return taken


def _peak(step: Step, device: torch.device) -> int:
    step()
    return peak_bytes(step, device)


def _parser() -> argparse.ArgumentParser:
    gpu = torch.cuda.is_available()
    half = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    precisions = ["fp32", "bf16", "fp16"] if gpu else ["fp32", *(["bf16"] if half else [])]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if gpu else "cpu")
    parser.add_argument(
        "--name", default=f"necks_{'gpu' if gpu else 'cpu'}", help="of the files in experiments/results"
    )
    parser.add_argument("--necks", nargs="+", default=list(PAIRS), choices=list(PAIRS))
    parser.add_argument("--sides", nargs="+", type=int, default=[640, 1024])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--phases", nargs="+", default=["inference", "training"], choices=["inference", "training"])
    parser.add_argument("--precisions", nargs="+", default=precisions, choices=list(DTYPES))
    modes = ["eager", "graphed", "compiled"] if gpu else ["eager", "compiled"]
    parser.add_argument("--modes", nargs="+", default=modes, choices=modes)
    parser.add_argument("--layouts", nargs="+", default=list(LAYOUTS), choices=list(LAYOUTS))
    parser.add_argument("--only-times", action="store_true", help="no profile, no memory")
    parser.add_argument("--seconds", type=float, default=12, help="of rounds per setting")
    parser.add_argument("--longest", type=float, default=25, help="seconds that a round may take")
    return parser


if __name__ == "__main__":
    main()
