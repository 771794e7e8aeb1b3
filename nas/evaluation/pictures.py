"""What a detector found, and what its exits cost, drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from nas.data.coco import CocoSplit
from nas.data.evaluate import Detections
from nas.evaluation.evaluate import ExitResult
from nas.text import label_text

COLUMNS = 2
PANEL = 5.0
"""Width of an image in inches."""
MIN_SCORE = 0.3
MOST = 30
"""Boxes of an image that are drawn, the surest ones."""


def detections_on_images(split: CocoSplit, found: Mapping[int, Detections], number: int) -> Figure:
    """Images spread evenly over the split, with the detections of score .3 or more, each with class and score.

    Args:
        number: of images; all of them if there are fewer.
    """
    number = min(number, len(split))
    indices = [place * len(split) // number for place in range(number)]
    rows = -(-number // COLUMNS)
    figure = Figure(figsize=(PANEL * COLUMNS, 0.85 * PANEL * rows), layout="constrained")
    panels = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for axes in panels:
        axes.axis("off")
    for axes, index in zip(panels, indices, strict=False):
        image, _ = split[index]
        axes.imshow(image.permute(1, 2, 0).numpy(), interpolation="none")
        axes.set_title(label_text(split.image_path(split.image_ids[index]).name), fontsize=8)
        if (one := found.get(split.image_ids[index])) is not None:
            _draw(axes, one, split.classes)
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


def _draw(axes: Axes, found: Detections, classes: Sequence[str]) -> None:
    colours = mpl.colormaps["tab20"]
    order = found.scores.argsort(descending=True)[:MOST].tolist()
    for place in order:
        score, label = float(found.scores[place]), int(found.labels[place])
        if score < MIN_SCORE:
            break
        x1, y1, x2, y2 = found.boxes[place].tolist()
        colour = colours(label % colours.N)
        axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linewidth=1.4))
        axes.text(
            x1,
            y1,
            f"{label_text(classes[label])} {score:.2f}",
            fontsize=6,
            color="white",
            va="bottom",
            bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.8},
            clip_on=True,
        )
