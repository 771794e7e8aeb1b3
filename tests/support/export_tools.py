"""Necks that were trained a little, real photographs, and processes in which this project cannot be imported."""

from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import torch
from sklearn.datasets import load_sample_images
from torch import Tensor, nn

from nas.detection.backbone import build_backbone
from nas.detection.config import BackboneConfig
from necks import Neck, build_neck

CHANNELS = (128, 256, 512)
"""Of ResNet-10's maps."""
SIZES = ((427, 640), (320, 320), (299, 401))
OURS = ("nas", "necks", "search_space", "controllers", "experiments")
BLOCK = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked())
for name in {blocked!r}:
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise SystemExit(name + " can be imported")
"""


def photographs(size: tuple[int, int]) -> Tensor:
    """Two photographs, (2, 3, H, W) in 0..1."""
    images = torch.stack([torch.from_numpy(image.copy()) for image in load_sample_images().images])
    return images.permute(0, 3, 1, 2)[..., : size[0], : size[1]].float() / 255


def maps_of_photographs() -> list[OrderedDict[str, Tensor]]:
    """Backbone maps for each of `SIZES`."""
    torch.manual_seed(7)
    backbone = build_backbone(BackboneConfig(name="resnet10")).eval()
    with torch.no_grad():
        return [backbone(photographs(size)) for size in SIZES]


def trained(neck: Neck, lr: float = 0.01) -> Neck:
    """After a few steps on random maps, so that weights and statistics are no initial ones; in evaluation mode."""
    torch.manual_seed(11)
    for module in neck.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.5
    optimizer = torch.optim.SGD(neck.parameters(), lr=lr)
    for _ in range(3):
        maps = OrderedDict(
            (f"c{level}", torch.rand(2, width, 512 >> level, 512 >> level))
            for level, width in zip(neck.in_levels, neck.in_channels, strict=True)
        )
        loss = sum(((x - torch.randn_like(x)) ** 2).mean() for x in neck(maps).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return neck.eval().requires_grad_(False)


def trained_nas_fpn() -> Neck:
    return trained(build_neck("nas_fpn", in_channels=CHANNELS, out_channels=16, repeats=2))


def run_alone(code: str, blocked: tuple[str, ...], directory: Path) -> str:
    """What a program prints that runs in `directory` and in which `blocked` packages cannot be imported."""
    program = BLOCK.format(blocked=blocked) + code
    done = subprocess.run([sys.executable, "-I", "-c", program], cwd=directory, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
