"""The graph of a neck drawn with matplotlib, as the NAS-FPN paper draws it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyArrowPatch

from nas.drawing import layout
from nas.drawing.inline_svg import FILLED_BLACK
from nas.drawing.layout import Arrow, Place
from search_space import Genotype
from search_space.genotype import MERGES

PALETTE = ("#d9d9d9", "#7fb2d9", "#f2a65a", "#8cc084", "#c9a0dc", "#e8c547", "#e58fa5", "#6fc7c1")
OWN_COLOUR = "#b9b0d8"
MERGE_COLOURS = dict(zip(("input", *MERGES), cycle(PALETTE), strict=False))
DANGLING_COLOUR = "#c8553d"
INK = "#010101"
"""Black that stays black in dark pages."""
LINE = FILLED_BLACK
"""Takes the colour of the text in pages."""
LINE_ALPHA = 0.65
"""Arrows are fainter than text on either ground."""

RADIUS, BARE_RADIUS = 0.26, 0.17


def architecture(genotype: Genotype) -> Figure:
    """Levels as rows, cells as columns; colours are merge operations, small circles cells without a convolution, thick
    ones outputs, dashed arrows dangling adds."""
    figure = Figure(layout="constrained")
    axes = figure.add_subplot()
    axes.set_aspect("equal")
    axes.axis("off")
    circles = [_node(axes, genotype, node, place) for node, place in enumerate(layout.places(genotype))]
    arrows = layout.arrows(genotype)
    if len(arrows) > layout.MAX_BENT:
        _draw_lines(axes, circles, arrows)
    else:
        for arrow in arrows:
            _draw_arrow(axes, circles, arrow)
    for row, level in enumerate(genotype.levels):
        axes.text(-0.75, row, f"P{level}", ha="right", va="center", fontsize=10)
    _legend(axes, genotype)
    low, high = _heights(genotype, arrows)
    axes.set_xlim(-1.6, len(genotype.cells) + 0.8)
    axes.set_ylim(low - 0.2, high + 0.2)
    width = max(4.0, 1.0 + 0.85 * (len(genotype.cells) + 1))
    figure.set_size_inches(width, 0.8 + 0.75 * (high - low + 0.4))
    return figure


def _heights(genotype: Genotype, arrows: Sequence[Arrow]) -> tuple[float, float]:
    """How low and how high anything goes."""
    places = layout.places(genotype)
    curves = [layout.curve(places[arrow.start], places[arrow.end], arrow.bend)[:, 1] for arrow in arrows]
    ends = [-0.55, len(genotype.levels) - 0.45]
    return min([*ends, *(float(y.min()) for y in curves)]), max([*ends, *(float(y.max()) for y in curves)])


def _colour(merge: str) -> str:
    """A merge of the user's own has the colour of no other."""
    return MERGE_COLOURS.get(merge, OWN_COLOUR)


def _node(axes: Axes, genotype: Genotype, node: int, place: Place) -> Circle:
    index = node - len(genotype.levels)
    colour = _colour("input" if index < 0 else genotype.cells[index].merge)
    bare = index >= 0 and genotype.cells[index].transform == "none"
    width = 2.0 if node in genotype.outputs.values() else 0.8
    radius = BARE_RADIUS if bare else RADIUS
    circle = Circle(place, radius, facecolor=colour, edgecolor="black", linewidth=width, zorder=3)
    axes.add_patch(circle)
    axes.text(*place, str(node), ha="center", va="center", fontsize=7, color=INK, zorder=4)
    return circle


def _draw_arrow(axes: Axes, circles: Sequence[Circle], arrow: Arrow) -> None:
    start, end = circles[arrow.start], circles[arrow.end]
    axes.add_patch(
        FancyArrowPatch(
            start.center,
            end.center,
            patchA=start,
            patchB=end,
            arrowstyle="-|>",
            mutation_scale=10,
            linewidth=0.9,
            linestyle="--" if arrow.dangling else "-",
            color=DANGLING_COLOUR if arrow.dangling else LINE,
            alpha=None if arrow.dangling else LINE_ALPHA,
            connectionstyle=f"arc3,rad={arrow.bend}",
            zorder=2,
        )
    )


def _draw_lines(axes: Axes, circles: Sequence[Circle], arrows: Sequence[Arrow]) -> None:
    """Without heads and all at once: thousands of arrows take a minute."""
    ends = [(circles[arrow.start].center, circles[arrow.end].center) for arrow in arrows]
    colours = [DANGLING_COLOUR if arrow.dangling else LINE for arrow in arrows]
    axes.add_collection(LineCollection(ends, colors=colours, linewidths=0.3, zorder=2), autolim=False)


def _legend(axes: Axes, genotype: Genotype) -> None:
    used = dict.fromkeys(["input", *(cell.merge for cell in genotype.cells)])
    handles = [_dot(name.rpartition(":")[2], _colour(name)) for name in used]
    handles.append(_dot("output", "none", markeredgewidth=2))
    if any(cell.transform == "none" for cell in genotype.cells):
        handles.append(_dot("no convolution", "none", markersize=4))
    if any(genotype.dangling):
        handles.append(Line2D([], [], linestyle="--", color=DANGLING_COLOUR, label="dangling add"))
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=7, fontsize=7, frameon=False)


def _dot(label: str, colour: str, **options: float) -> Line2D:
    style = {"marker": "o", "linestyle": "", "markerfacecolor": colour, "markeredgecolor": "black"}
    return Line2D([], [], label=label, **style, **options)  # type: ignore[arg-type]
