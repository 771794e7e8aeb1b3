"""Parameters, multiply-adds and latency of a module."""

from __future__ import annotations

import statistics
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.detection import FasterRCNN

from nas.detection.backbone import Backbone
from nas.detection.device import counts_memory, is_accelerator, peak_memory, reset_peak, synchronize
from nas.detection.meta import meta_copy
from nas.detection.two_stage import ROI_SIZE, Detector
from necks import Neck

CLEAR_REFS = Path("/proc/self/clear_refs")
"""Writing 5 resets the process's peak resident size (Linux, man proc_pid_clear_refs)."""
STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Cost:
    params: int
    """Trainable and frozen parameters, buffers not counted."""

    macs: int
    """Multiply-adds of convolutions and matrix products for one image."""


def num_params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def count_macs(module: nn.Module, *inputs: Any) -> int:
    """Multiply-adds of one forward pass, counted on the meta device, so nothing is computed.

    Args:
        inputs: tensors or mappings of tensors; only their shapes matter.
    """
    shadow = meta_copy(module)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        shadow(*(_to_meta(value) for value in inputs))
    return int(counter.get_total_flops()) // 2


def feature_shapes(backbone: Backbone, image_size: tuple[int, int]) -> OrderedDict[str, tuple[int, ...]]:
    """(C, H, W) of each backbone map for one image of the given height and width."""
    shadow = meta_copy(backbone)
    with torch.no_grad():
        maps = shadow(torch.empty(1, 3, *image_size, device="meta"))
    return OrderedDict((name, tuple(x.shape[1:])) for name, x in maps.items())


def neck_cost(neck: Neck, shapes: OrderedDict[str, tuple[int, ...]]) -> Cost:
    """Cost of the neck alone, its stem included, on maps of the given (C, H, W)."""
    return Cost(num_params(neck), count_macs(neck, _maps(shapes, "meta")))


def detector_cost(detector: Detector, image_size: tuple[int, int]) -> Cost:
    """Cost of backbone, neck and head for one image of the given height and width.

    The second stage of a Faster R-CNN counts with as many regions as it looks at most.
    """
    maps = feature_shapes(detector.backbone.body, image_size)
    images = torch.empty(1, 3, *image_size, device="meta")
    pyramid = _pyramid(detector.backbone.neck, maps)
    macs = count_macs(detector.backbone, images)
    if isinstance(detector, FasterRCNN):
        macs += count_macs(detector.rpn.head, pyramid) + _region_macs(detector)
    else:
        macs += count_macs(detector.head, pyramid)
    return Cost(num_params(detector), macs)


def head_macs(head: nn.Module, neck: Neck, shapes: OrderedDict[str, tuple[int, ...]]) -> int:
    """Multiply-adds of a head on what the neck makes of maps of the given (C, H, W)."""
    return count_macs(head, _pyramid(neck, shapes))


def latency_ms(neck: Neck, shapes: OrderedDict[str, tuple[int, ...]], device: torch.device) -> float:
    """Median milliseconds of one forward pass of the neck, batch 1, on `device`, over 15 runs after 3."""
    maps = _maps(shapes, device)
    mode = neck.training
    neck.eval()
    with torch.inference_mode():
        times = [timed(lambda: neck(maps), device) for _ in range(18)][3:]
    neck.train(mode)
    return 1000 * statistics.median(times)


def reset_peak_memory(device: torch.device) -> None:
    """Start a new measurement for `peak_memory_mb`."""
    if is_accelerator(device):
        reset_peak(device)
    elif CLEAR_REFS.exists():
        CLEAR_REFS.write_text("5")


def peak_memory_mb(device: torch.device) -> float | None:
    """Most memory held at once since the reset, in MiB.

    On a GPU what the allocator handed out there. On a Linux CPU the resident size of the whole process, which keeps
    what earlier trials left in its allocator: an upper bound. None where the system does not say.
    """
    if is_accelerator(device):
        return peak_memory(device) / 2**20 if counts_memory(device) else None
    if not STATUS.exists():
        return None
    peak = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 2**10


def _region_macs(detector: FasterRCNN) -> int:
    heads = nn.Sequential(detector.roi_heads.box_head, detector.roi_heads.box_predictor)
    regions = meta_copy(detector.rpn).post_nms_top_n()
    return count_macs(heads, torch.empty(regions, detector.backbone.out_channels, ROI_SIZE, ROI_SIZE, device="meta"))


def timed(run: Callable[[], object], device: torch.device) -> float:
    """Seconds that `run` takes; on a GPU until it is done there."""
    synchronize(device)
    start = time.perf_counter()
    run()
    synchronize(device)
    return time.perf_counter() - start


def _pyramid(neck: Neck, shapes: OrderedDict[str, tuple[int, ...]]) -> list[Tensor]:
    shadow = meta_copy(neck)
    with torch.no_grad():
        return list(shadow(_maps(shapes, "meta")).values())


def _maps(shapes: OrderedDict[str, tuple[int, ...]], device: torch.device | str) -> OrderedDict[str, Tensor]:
    return OrderedDict((name, torch.zeros(1, *shape, device=device)) for name, shape in shapes.items())


def _to_meta(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.to("meta")
    if isinstance(value, OrderedDict):
        return OrderedDict((name, _to_meta(x)) for name, x in value.items())
    return [_to_meta(x) for x in value]
