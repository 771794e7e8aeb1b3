"""Variants of one neck to time in one setting: ours, the public one and the convolutions alone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from experiments.benchmarks.floor import Convolutions, convolution_calls
from experiments.benchmarks.neck_pairs import CHANNELS, LEVELS, Maps, Pair, Run, run_ours
from necks import Neck

LAYOUTS = {"NCHW": torch.contiguous_format, "NHWC": torch.channels_last}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

Step = Callable[[], object]


@dataclass(frozen=True)
class Setting:
    """
    Attributes:
        mode: `eager`; `graphed`: the eager step as one CUDA graph, in which the host's time does not count; `compiled`:
            by `torch.compile`, on a GPU as a CUDA graph, too.
    """

    side: int
    batch: int
    phase: str
    precision: str
    mode: str


def built(pair: Pair, setting: Setting, device: torch.device) -> tuple[Neck, nn.Module | None]:
    dtype = DTYPES[setting.precision] if setting.phase == "inference" else torch.float32
    neck, peer = pair.build(setting.side)
    for module in (neck, peer):
        if module is not None:
            module.to(device, dtype).train(setting.phase == "training")
    return neck, peer


def random_maps(setting: Setting, device: torch.device, layout: torch.memory_format) -> list[Tensor]:
    """A ResNet-50's maps of levels 3 to 5, (N, C, side / 2^level, side / 2^level)."""
    generator = torch.Generator().manual_seed(0)
    dtype = DTYPES[setting.precision] if setting.phase == "inference" else torch.float32
    sizes = [(setting.batch, width, setting.side >> level, setting.side >> level) for width, level in _levels()]
    return [torch.randn(size, generator=generator).to(device, dtype).contiguous(memory_format=layout) for size in sizes]


def _levels() -> Iterator[tuple[int, int]]:
    return zip(CHANNELS, LEVELS, strict=True)


def variants(
    pair: Pair, neck: Neck, peer: nn.Module | None, setting: Setting, layout: str, device: torch.device
) -> Iterator[tuple[str, Step]]:
    """Variants to time in one layout of weights and maps: our neck, fused for inference too, the peer, the floor."""
    memory_format = LAYOUTS[layout]
    neck = copy.deepcopy(neck).to(memory_format=memory_format)
    maps = random_maps(setting, device, memory_format)
    calls = convolution_calls(neck, lambda: run_ours(neck, maps), memory_format)
    modules: dict[str, tuple[nn.Module, Run]] = {"ours": (_compiled(neck, setting), run_ours)}
    if setting.phase == "inference":
        modules["ours fused"] = (_compiled(neck.fuse(), setting), run_ours)
    if peer is not None:
        modules["peer"] = (_compiled(copy.deepcopy(peer).to(memory_format=memory_format), setting), pair.run)
    for name, (module, run) in modules.items():
        yield f"{name}/{layout}", _graphed(step_of(module, run, maps, setting, device), setting, device)
    floor, inputs = Convolutions(conv for conv, _ in calls), [x for _, x in calls]
    alone = step_of(floor, lambda module, maps: module(maps), inputs, setting, device)
    yield f"floor/{layout}", _graphed(alone, setting, device)


def step_of(
    module: nn.Module,
    run: Run,
    maps: Maps,
    setting: Setting,
    device: torch.device,
) -> Step:
    """A forward pass, or in training that and the backward pass to the weights and the given maps."""
    if setting.phase == "inference":
        return torch.inference_mode()(lambda: run(module, maps))
    maps = [x.detach().requires_grad_() for x in maps]

    def step() -> None:
        with _autocast(setting, device):
            outputs = list(run(module, maps))
        torch.autograd.backward(outputs, [torch.ones_like(x) for x in outputs])
        for tensor in [*maps, *module.parameters()]:
            tensor.grad = None

    return step


def _compiled(module: nn.Module, setting: Setting) -> nn.Module:
    return torch.compile(module) if setting.mode == "compiled" else module  # type: ignore[return-value]


@dataclass(frozen=True)
class Graphed:
    """A step as a CUDA graph, which reads the memory of what the step holds."""

    step: Step
    graph: torch.cuda.CUDAGraph

    def __call__(self) -> None:
        self.graph.replay()


def _graphed(step: Step, setting: Setting, device: torch.device) -> Step:
    """The step as a CUDA graph, if the setting asks for one."""
    if setting.mode == "eager" or device.type == "cpu":
        return step
    side = torch.cuda.Stream(device)
    side.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream(device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return Graphed(step, graph)


def _autocast(setting: Setting, device: torch.device) -> AbstractContextManager[object]:
    if setting.precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=DTYPES[setting.precision])
