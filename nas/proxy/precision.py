"""The precision in which trainings are faster on this machine: bf16 only where the processor computes in it."""

from __future__ import annotations

import logging
import statistics
import time
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor

from nas.detection.backbone import build_backbone
from nas.detection.cost import feature_shapes
from nas.detection.device import is_accelerator, pick_device
from nas.proxy.config import Precision, ProxyConfig
from necks import MergeNeck, Recipe
from search_space import known

_log = logging.getLogger(__name__)

ROUNDS = 5
LEAST_GAIN = 1.1
"""Times faster that bf16 must be to be taken: it costs some accuracy."""

MAX_IMAGES = 4
"""Images of a timed batch, at most: what is compared does not depend on their number."""


@dataclass(frozen=True)
class Timed:
    """Seconds of a training step of neck alone, medians of interleaved rounds."""

    fp32: float
    bf16: float

    @property
    def faster(self) -> Precision:
        return "bf16" if self.fp32 >= LEAST_GAIN * self.bf16 else "fp32"


def decided(config: ProxyConfig) -> ProxyConfig:
    """The configuration with `precision="auto"` replaced by what is faster here; another one as it is.

    On a GPU that is bf16 where it has units for it. On a CPU a few steps of FPN and BiFPN are timed in either, once per
    process.
    """
    if config.precision != "auto":
        return config
    device = pick_device(config.device)
    if is_accelerator(device):
        supported = device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
        return replace(config, precision="bf16" if supported and device.type != "mps" else "fp32")
    seconds = timed(config)
    _log.info("a step takes %.1f ms in bf16, %.1f ms in fp32", 1000 * seconds.bf16, 1000 * seconds.fp32)
    return replace(config, precision=seconds.faster)


@cache
def timed(config: ProxyConfig) -> Timed:
    """Forward and backward passes of FPN and BiFPN on maps of random numbers, on the CPU."""
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        with torch.random.fork_rng([]):
            return _timed(config)
    finally:
        torch.set_num_threads(threads)


def _timed(config: ProxyConfig) -> Timed:
    backbone = build_backbone(replace(config.backbone, weights="none"))
    shapes = feature_shapes(backbone, (config.image_size, config.image_size))
    images = min(config.batch_size, MAX_IMAGES)
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    maps = {name: torch.randn(images, *shape).to(memory_format=layout) for name, shape in shapes.items()}
    recipe = Recipe(activation=config.neck.activation, separable=config.neck.separable)
    channels, repeats = config.neck.channels, config.neck.repeats
    topologies = [make(config.neck.levels) for make in (known.fpn, known.bifpn)]
    necks = [MergeNeck(each, backbone.channels, backbone.levels, channels, repeats, recipe) for each in topologies]
    necks = [neck.to(memory_format=layout) for neck in necks]
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(ROUNDS + 1):
        for reduced, taken in seconds.items():
            start = time.perf_counter()
            for neck in necks:
                _step(neck, maps, reduced)
            taken.append(time.perf_counter() - start)
    fp32, bf16 = (statistics.median(seconds[reduced][1:]) for reduced in (False, True))
    return Timed(fp32, bf16)


def _step(neck: MergeNeck, maps: dict[str, Tensor], reduced: bool) -> None:
    with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
        pyramid = neck(maps)
    torch.stack([x.float().mean() for x in pyramid.values()]).sum().backward()
