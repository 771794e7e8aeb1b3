"""Necks and whole detectors as modules that can be traced: tensors in, named tensors out.

Shapes: N images of H x W pixels, A anchors of all levels, K classes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim
from torchvision.models.detection import RetinaNet

from nas.detection.targets import BOX_CODER
from nas.export.same_padding import with_fixed_padding
from necks import Neck

Size = tuple[int, int]

Computes = Callable[[tuple[Tensor, ...]], list[Tensor]]
"""Gives outputs for inputs, as a written file does."""

STRIDE_OF_IMAGES = 32
"""torchvision's detectors pad the sides of images to multiples of this."""


@dataclass(frozen=True)
class Graph:
    """Module to trace, and the inputs that it is called with.

    Args:
        module: takes the tensors of `inputs` by position, gives an ordered dict of `output_names`.
        levels: of the inputs; empty for images.
        top: the coarsest level in it.
    """

    module: nn.Module
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    channels: tuple[int, ...]
    levels: tuple[int, ...]
    top: int

    def inputs(self, size: Size, batch: int = 1, seed: int = 0) -> tuple[Tensor, ...]:
        """Random maps, or a random image in 0..1, of an image of `size`."""
        generator = torch.Generator().manual_seed(seed)
        shapes = [(batch, width, *self._sides(size, index)) for index, width in enumerate(self.channels)]
        return tuple(torch.rand(shape, generator=generator) for shape in shapes)

    def input_dims(self, index: int) -> tuple[str, int, str, str]:
        """Names of an input's dimensions that vary, and its channels."""
        prefix = f"{self.input_names[index]}_" if self.levels else ""
        return "batch", self.channels[index], f"{prefix}height", f"{prefix}width"

    def output_dims(self, index: int) -> tuple[str, ...]:
        """Names of an output's dimensions; those of constant size have names as well."""
        if self.levels:
            name = self.output_names[index]
            return "batch", "channels", f"{name}_height", f"{name}_width"
        return "batch", "anchors", "values"

    def traceable(self) -> nn.Module:
        """Module that computes the same at every size of `dynamic_shapes`, and can be traced for them all."""
        return self.module if self.levels else with_fixed_padding(self.module)

    def dynamic_shapes(self) -> tuple[Any, ...]:
        """Images, height and width of every input may vary; those of images in steps of 32 px."""
        if self.levels:
            return (tuple({0: Dim.AUTO, 2: Dim.AUTO, 3: Dim.AUTO} for _ in self.input_names),)
        sides = {dim: STRIDE_OF_IMAGES * Dim(name, min=1) for dim, name in ((2, "rows"), (3, "columns"))}
        return ({0: Dim("batch"), **sides},)

    @property
    def sizes(self) -> tuple[Size, ...]:
        """Image sizes to compare outputs at, the first for the trace: odd and oblong ones where the graph takes maps,
        and one whose coarsest map has a single pixel."""
        unit = 2**self.top
        if self.levels:
            return (3 * unit - 5, 5 * unit - 9), (4 * unit, 4 * unit), (5 * unit - 37, 2 * unit), (unit, unit - 3)
        return tuple((_up(a * unit), _up(b * unit)) for a, b in ((3, 5), (4, 4), (3.3, 2), (1, 0.5)))

    def _sides(self, size: Size, index: int) -> Size:
        stride = 2 ** self.levels[index] if self.levels else 1
        return -(-size[0] // stride), -(-size[1] // stride)


def _up(side: float) -> int:
    return -int(-side // STRIDE_OF_IMAGES) * STRIDE_OF_IMAGES


class NeckGraph(nn.Module):
    """The maps as positional arguments."""

    def __init__(self, neck: Neck) -> None:
        super().__init__()
        self.neck = neck
        self.names = tuple(f"c{level}" for level in neck.in_levels)

    def forward(self, *maps: Tensor) -> OrderedDict[str, Tensor]:
        return self.neck(OrderedDict(zip(self.names, maps, strict=True)))


class DetectorGraph(nn.Module):
    """A RetinaNet without what torchvision does to images before it and to boxes after it.

    Images (N, 3, H, W) in 0..1, which it normalises itself; torchvision scales them and pads them with zeros after
    normalising, on the right and below, to sides that are multiples of 32. Gives `logits` (N, A, K), `offsets`
    (N, A, 4) and `boxes` (N, A, 4), x1 y1 x2 y2 in pixels, not clipped to the image. Scores are sigmoids of logits.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, detector: RetinaNet) -> None:
        super().__init__()
        self.backbone = detector.backbone
        self.head = detector.head
        self.register_buffer("mean", torch.tensor(detector.transform.image_mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(detector.transform.image_std).view(-1, 1, 1))
        cells = detector.anchor_generator.cell_anchors
        self.num_levels = len(cells)
        for level, cell in enumerate(cells):
            self.register_buffer(f"cell{level}", cell.float())

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        maps, logits, offsets = self.outputs(images)
        anchors = torch.cat([self.anchors(images, x, level) for level, x in enumerate(maps)])
        boxes = BOX_CODER.decode_single(offsets.flatten(0, 1), anchors.repeat(images.shape[0], 1))
        return OrderedDict(logits=logits, offsets=offsets, boxes=boxes.view_as(offsets))

    def outputs(self, images: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        """The neck's maps, logits (N, A, K) and offsets (N, A, 4)."""
        maps = list(self.backbone((images - self.mean) / self.std).values())
        found = self.head(maps)
        return maps, found["cls_logits"], found["bbox_regression"]

    def anchors(self, images: Tensor, x: Tensor, level: int) -> Tensor:
        """(A_l, 4): what torchvision's `AnchorGenerator` gives."""
        height, width = x.shape[-2:]
        ys = torch.arange(height, device=x.device) * (images.shape[-2] // height)
        xs = torch.arange(width, device=x.device) * (images.shape[-1] // width)
        y, x = torch.meshgrid(ys, xs, indexing="ij")
        corners = torch.stack([x, y, x, y], dim=-1).reshape(-1, 1, 4)
        return (corners + self.get_buffer(f"cell{level}")).reshape(-1, 4)


def neck_graph(neck: Neck) -> Graph:
    return Graph(
        NeckGraph(neck).eval(),
        tuple(f"c{level}" for level in neck.in_levels),
        tuple(f"p{level}" for level in neck.out_levels),
        neck.in_channels,
        neck.in_levels,
        neck.out_levels[-1],
    )


def detector_graph(detector: RetinaNet) -> Graph:
    top = detector.backbone.neck.out_levels[-1]
    return Graph(DetectorGraph(detector).eval(), ("images",), ("logits", "offsets", "boxes"), (3,), (), top)


def largest_difference(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> float:
    """Over all outputs, relative to the largest value of each where that is more than one; NaN if one of them is."""
    pairs = zip(ours, theirs, strict=True)
    return float(torch.stack([(x - y).abs().max() / y.abs().max().clamp(min=1) for x, y in pairs]).max())
