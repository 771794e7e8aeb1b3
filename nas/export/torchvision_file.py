"""An example: the exported Python file in torchvision's RetinaNet."""

from __future__ import annotations

from pathlib import Path

from nas.export.errors import ExportError
from nas.export.python_file import merge_graph, write_python
from necks import Neck

TORCHVISION_FILE = "torchvision_example.py"
LEVELS = (2, 3, 4, 5)
RESNETS = {64: "resnet18", 256: "resnet50"}
"""Channels of C2 -> a model whose stages have that and its double, four and eight times."""

TEXT = '''"""The neck beside this file in torchvision's RetinaNet: one training step, one detection.

Needs torch and torchvision; run it in this directory.{note}
"""

from collections import OrderedDict

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator

from neck import load_neck


class BackboneWithNeck(nn.Module):
    """Images in, the neck's maps out."""

    def __init__(self) -> None:
        super().__init__()
        model = torchvision.models.{model}(weights=None)  # "DEFAULT" downloads ImageNet weights
        self.body = IntermediateLayerGetter(model, {layers})
{adapters}        self.neck = load_neck("weights.pt")
        self.out_channels = self.neck.out_channels

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        return self.neck({maps})


def build_detector(num_classes: int) -> RetinaNet:
    sizes = tuple((side, side * 2 ** (1 / 3), side * 2 ** (2 / 3)) for side in {sides})
    anchors = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes))
    return RetinaNet(BackboneWithNeck(), num_classes, anchor_generator=anchors, min_size=320, max_size=320)


def main() -> None:
    detector = build_detector(num_classes=3)
    image = torch.rand(3, 300, 400)
    target = {{"boxes": torch.tensor([[20.0, 30.0, 150.0, 200.0]]), "labels": torch.tensor([1])}}
    losses = detector([image], [target])
    sum(losses.values()).backward()
    print({{name: round(float(loss), 3) for name, loss in losses.items()}})
    with torch.no_grad():
        (found,) = detector.eval()([image])
    print(f"{{len(found['boxes'])}} boxes")


if __name__ == "__main__":
    main()
'''

ADAPTERS = """        self.adapters = nn.ModuleDict(
            {{
{convolutions}
            }}
        )
"""
ADAPTED = """

The neck takes maps of other widths than this backbone gives; the 1x1 convolutions between them stand for your own."""


def write_torchvision(neck: Neck, directory: Path) -> list[Path]:
    """Write `torchvision_example.py`, and the `neck.py` and `weights.pt` that it imports.

    Raises:
        ExportError: for a neck that is no merge graph, or takes levels that ResNets do not have.
    """
    path = directory / TORCHVISION_FILE
    path.write_text(torchvision_example(neck))
    return [path, *write_python(neck, directory)]


def torchvision_example(neck: Neck) -> str:
    """Source of the example, with a ResNet whose channels fit if there is one.

    Raises:
        ExportError: as `write_torchvision`.
    """
    merge_graph(neck, "an example of torchvision")
    if not set(neck.in_levels) <= set(LEVELS):
        raise ExportError(
            f"the example of torchvision has a ResNet with the levels {LEVELS}, this neck takes {neck.in_levels}; "
            "take the format python"
        )
    base = neck.in_channels[0] >> (neck.in_levels[0] - LEVELS[0])
    width = base if base in RESNETS else 64
    have = tuple(width << (level - LEVELS[0]) for level in neck.in_levels)
    fits = have == neck.in_channels
    layers = ", ".join(f'"layer{level - 1}": "c{level}"' for level in neck.in_levels)
    convolutions = [
        f'                "c{level}": nn.Conv2d({given}, {taken}, 1),'
        for level, given, taken in zip(neck.in_levels, have, neck.in_channels, strict=True)
    ]
    adapted = "{name: self.adapters[name](x) for name, x in self.body(images).items()}"
    return TEXT.format(
        note="" if fits else ADAPTED,
        model=RESNETS[width],
        layers=f"{{{layers}}}",
        adapters="" if fits else ADAPTERS.format(convolutions="\n".join(convolutions)),
        maps="self.body(images)" if fits else adapted,
        sides=tuple(4 * 2**level for level in neck.out_levels),
    )
