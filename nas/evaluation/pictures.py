"""Figures of detections and of the cost of a detector's exits, drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from nas.data.coco import CocoSplit
from nas.data.evaluate import Detections
from nas.evaluation.evaluate import ExitResult
from nas.text import label_text

PANEL = 5.0
"""Width of an image in inches."""
MIN_SCORE = 0.3
"""Default threshold of the detections that are drawn."""
MOST = 30
"""Boxes of an image that are drawn; of detections those with the highest scores."""
DPI = 100
SMALLEST_SIDE, LARGEST_SIDE = 640, 2048
"""Longer side of the picture of one image, in pixels."""
LABEL_SIZE = 6.5
"""Size of the classes' names, in points."""
LABEL_ROOM = 0.04
"""Share of the image's height that a label takes."""


def detections_on_images(
    split: CocoSplit, found: Mapping[int, Detections], number: int, min_score: float = MIN_SCORE
) -> Figure:
    """Images spread evenly over the split, each twice: with its annotated boxes, and with what was detected.

    Args:
        number: of images; all of them if there are fewer.
        min_score: of the detections that are drawn, 0..1.
    """
    number = min(number, len(split))
    indices = [place * len(split) // number for place in range(number)]
    figure = Figure(figsize=(PANEL * 2, (0.85 * PANEL + 0.25) * number), layout="constrained")
    for (left, right), index in zip(figure.subplots(number, 2, squeeze=False), indices, strict=True):
        image, target = split[index]
        image_id = split.image_ids[index]
        truth = _boxes(split.classes, target["boxes"], target["labels"])
        detected = _detected(split.classes, found.get(image_id), min_score)
        name = label_text(str(split.coco.imgs[image_id]["file_name"]))
        _panel(left, image, f"{name}\nannotated: {_count(truth)}", truth)
        _panel(right, image, f"detected with score >= {min_score:g}: {_count(detected)}", detected)
    return figure


def detections_on_image(image: Tensor, classes: Sequence[str], found: Detections) -> Figure:
    """One image with what was detected in it, for `savefig(..., dpi=DPI)`.

    The picture has the image's size, between `SMALLEST_SIDE` and `LARGEST_SIDE` pixels on its longer side.

    Args:
        image: uint8 (3, H, W).
        classes: names in the order of the labels.
    """
    height, width = image.shape[-2:]
    scale = min(max(1.0, SMALLEST_SIDE / max(height, width)), LARGEST_SIDE / max(height, width)) / DPI
    figure = Figure(figsize=(max(width * scale, 1 / DPI), max(height * scale, 1 / DPI)), dpi=DPI)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    _panel(axes, image, "", _detected(classes, found, 0.0), aspect="auto")
    return figure


def ap_against_macs(results: Sequence[ExitResult]) -> Figure:
    """AP over multiply-adds, one point per exit."""
    figure = Figure(figsize=(6.0, 4.0), layout="constrained")
    axes = figure.add_subplot()
    giga = [result.cost.macs / 1e9 for result in results]
    for name, colour in (("AP", "#1b6ca8"), ("AP50", "#8a8a8a")):
        axes.plot(giga, [result.metrics[name] for result in results], "o-", color=colour, label=name)
    for x, result in zip(giga, results, strict=True):
        axes.annotate(
            f"exit {result.repeats}", (x, result.metrics["AP"]), xytext=(4, -10), textcoords="offset points", fontsize=7
        )
    axes.set_xlabel("multiply-adds of the detector up to the exit (G)")
    axes.set_ylabel("AP (%)")
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.legend(frameon=False, fontsize=8)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


@dataclass(frozen=True)
class _Box:
    """Corners in pixels, the class, and what is written at the box."""

    corners: Sequence[float]
    label: int
    text: str


def _boxes(classes: Sequence[str], corners: Tensor, labels: Tensor) -> list[_Box]:
    pairs = zip(corners.tolist(), labels.tolist(), strict=True)
    return [_Box(box, label, label_text(classes[label])) for box, label in pairs]


def _detected(classes: Sequence[str], found: Detections | None, min_score: float) -> list[_Box]:
    """Best first."""
    if found is None:
        return []
    order = found.scores.argsort(descending=True)
    order = order[found.scores[order] >= min_score]
    boxes = _boxes(classes, found.boxes[order], found.labels[order])
    return [
        replace(box, text=f"{box.text} {score:.2f}")
        for box, score in zip(boxes, found.scores[order].tolist(), strict=True)
    ]


def _count(boxes: Sequence[_Box]) -> str:
    return f"{len(boxes)}" if len(boxes) <= MOST else f"{MOST} of {len(boxes)} drawn"


def _panel(
    axes: Axes, image: Tensor, title: str, boxes: Sequence[_Box], aspect: Literal["equal", "auto"] = "equal"
) -> None:
    axes.axis("off")
    axes.imshow(image.permute(1, 2, 0).numpy(), interpolation="none", aspect=aspect)
    axes.set_title(title, fontsize=8)
    for box in boxes[:MOST]:
        _draw(axes, box, float(image.shape[-2]))


def _draw(axes: Axes, box: _Box, height: float) -> None:
    """The label stands above its box, or inside where there is no room above."""
    x1, y1, x2, y2 = box.corners
    colours = mpl.colormaps["tab20"]
    colour = colours(box.label % colours.N)
    axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linewidth=1.4))
    axes.text(
        x1,
        y1,
        box.text,
        fontsize=LABEL_SIZE,
        color=_ink(colour),
        va="bottom" if y1 > LABEL_ROOM * height else "top",
        bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.8},
        clip_on=True,
    )


def _ink(colour: Sequence[float]) -> str:
    """Black or white, whichever reads better on the colour (relative luminance by Rec. 709)."""
    red, green, blue = colour[:3]
    return "black" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.5 else "white"
