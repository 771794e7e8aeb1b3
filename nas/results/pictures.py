"""The report's pictures, drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import hypot

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyArrowPatch
from matplotlib.ticker import MaxNLocator

from nas.results.front import pareto_front
from nas.results.summary import known_necks, scored, trained
from nas.search.records import KNOWN_PREFIX, RANDOM, SEARCH, Trial
from search_space import Genotype

mpl.rcParams["svg.fonttype"] = "none"
mpl.rcParams["svg.hashsalt"] = "nas-fpn"

COLOURS = {SEARCH: "#1b6ca8", RANDOM: "#8a8a8a"}
KNOWN_COLOUR = "#c8553d"
Place = tuple[float, float]
MERGE_COLOURS = {"input": "#d9d9d9", "sum": "#7fb2d9", "attention": "#f2a65a", "fast_normalized": "#8cc084"}


COST_AXES = {
    "params": (1e3, "parameters of the neck (k)"),
    "macs": (1e6, "multiply-adds of the neck (M)"),
    "latency_ms": (1.0, "latency of the neck, batch 1 (ms)"),
}
"""Metric -> unit, label."""


def ap_over_trials(trials: Sequence[Trial], controller: str, reward: str = "AP") -> Figure:
    """The reward of each candidate in the order of proposal, the best so far, and the known necks as lines; of those
    that were stopped early only the places."""
    figure, axes = _axes((7.2, 4.0), "candidates of each kind, in the order proposed", _gain_label(reward))
    for origin, label in ((RANDOM, "random"), (SEARCH, controller)):
        places = {trial.number: place for place, trial in enumerate(trained(trials, origin), start=1)}
        chosen = scored(trials, origin)
        if not chosen:
            continue
        rewards = [trial.reward or 0.0 for trial in chosen]
        steps = [places[trial.number] for trial in chosen]
        axes.plot(steps, rewards, "o", color=COLOURS[origin], markersize=4, alpha=0.5)
        running = list(accumulate([*rewards, rewards[-1]], max))
        steps.append(max(places.values()))
        axes.step(steps, running, where="post", color=COLOURS[origin], label=f"best of {label} so far")
    for trial in known_necks(trials):
        axes.axhline(trial.reward or 0.0, color=KNOWN_COLOUR, linewidth=0.8, linestyle="--")
    _label_lines(axes, known_necks(trials))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="lower right", fontsize=8, frameon=False)
    return figure


def ap_against_cost(trials: Sequence[Trial], controller: str, cost: str = "macs", metric: str = "AP") -> Figure:
    """AP against a cost of the neck, with the Pareto front."""

    def point(trial: Trial) -> Place:
        return trial.metrics[cost] / COST_AXES[cost][0], trial.metrics[metric]

    figure, axes = _axes((7.2, 4.0), COST_AXES[cost][1], _gain_label(metric))
    for origin, label in ((RANDOM, "random"), (SEARCH, controller)):
        points = [point(trial) for trial in scored(trials, origin)]
        if points:
            axes.plot(*zip(*points, strict=True), "o", color=COLOURS[origin], markersize=5, alpha=0.7, label=label)
    for trial in known_necks(trials):
        axes.plot(*point(trial), "D", color=KNOWN_COLOUR, markersize=6)
        axes.annotate(_name(trial), point(trial), xytext=(6, 4), textcoords="offset points", fontsize=8)
    front = [point(trial) for trial in pareto_front(trials, cost, metric)]
    if front:
        axes.step(*zip(*front, strict=True), where="post", color="black", linewidth=0.8, label="Pareto front")
    axes.legend(loc="lower right", fontsize=8, frameon=False)
    return figure


def architecture(genotype: Genotype) -> Figure:
    """The graph as the NAS-FPN paper draws it: levels as rows, cells as columns, dangling adds dashed."""
    figure = Figure(layout="constrained")
    axes = figure.add_subplot()
    axes.set_aspect("equal")
    axes.axis("off")
    places = _places(genotype)
    first = len(genotype.levels)
    circles = [_node(axes, genotype, node, place) for node, place in enumerate(places)]
    heights = [-0.55, first - 0.45]
    for index, cell in enumerate(genotype.cells):
        for node in cell.inputs:
            heights += _arrow(axes, circles, node, first + index, dashed=False)
        for node in genotype.dangling[index]:
            heights += _arrow(axes, circles, node, first + index, dashed=True)
    for level, row in zip(genotype.levels, range(first), strict=True):
        axes.text(-0.75, row, f"P{level}", ha="right", va="center", fontsize=10)
    _merge_legend(axes, genotype)
    axes.set_xlim(-1.6, len(genotype.cells) + 0.8)
    axes.set_ylim(min(heights) - 0.2, max(heights) + 0.2)
    width = max(4.0, 1.0 + 0.85 * (len(genotype.cells) + 1))
    figure.set_size_inches(width, 0.8 + 0.75 * (max(heights) - min(heights) + 0.4))
    return figure


def _places(genotype: Genotype) -> list[Place]:
    row = {level: index for index, level in enumerate(genotype.levels)}
    first = len(genotype.levels)
    columns = [0] * first + [index + 1 for index in range(len(genotype.cells))]
    return [(float(column), float(row[level])) for column, level in zip(columns, genotype.node_levels, strict=True)]


def _node(axes: Axes, genotype: Genotype, node: int, place: tuple[float, float]) -> Circle:
    index = node - len(genotype.levels)
    colour = MERGE_COLOURS["input" if index < 0 else genotype.cells[index].merge]
    bare = index >= 0 and genotype.cells[index].transform == "none"
    width = 2.0 if node in genotype.outputs.values() else 0.8
    circle = Circle(place, 0.17 if bare else 0.26, facecolor=colour, edgecolor="black", linewidth=width, zorder=3)
    axes.add_patch(circle)
    axes.text(*place, str(node), ha="center", va="center", fontsize=7, zorder=4)
    return circle


def _arrow(axes: Axes, circles: Sequence[Circle], start: int, end: int, *, dashed: bool) -> list[float]:
    """Returns: how low and how high it goes."""
    others = [circle.center for index, circle in enumerate(circles) if index not in (start, end)]
    bend = _bend(circles[start].center, circles[end].center, others)
    axes.add_patch(
        FancyArrowPatch(
            circles[start].center,
            circles[end].center,
            patchA=circles[start],
            patchB=circles[end],
            arrowstyle="-|>",
            mutation_scale=10,
            linewidth=0.9,
            linestyle="--" if dashed else "-",
            color="#9a3b26" if dashed else "#555555",
            connectionstyle=f"arc3,rad={bend}",
            zorder=2,
        )
    )
    heights = [y for _, y in _curve(circles[start].center, circles[end].center, bend)]
    return [min(heights), max(heights)]


def _curve(start: Place, end: Place, bend: float) -> list[Place]:
    """Points of matplotlib's `arc3`, without its ends."""
    (x0, y0), (x2, y2) = start, end
    x1, y1 = (x0 + x2) / 2 + bend * (y2 - y0), (y0 + y2) / 2 - bend * (x2 - x0)
    return [
        ((1 - t) ** 2 * x0 + 2 * t * (1 - t) * x1 + t**2 * x2, (1 - t) ** 2 * y0 + 2 * t * (1 - t) * y1 + t**2 * y2)
        for t in (step / 20 for step in range(1, 20))
    ]


def _bend(start: Place, end: Place, others: Sequence[Place]) -> float:
    """The curvature (matplotlib's `arc3`) whose curve keeps furthest from the other nodes; straight if that clears."""

    def clearance(bend: float) -> float:
        distances = [hypot(x - x3, y - y3) for x, y in _curve(start, end, bend) for x3, y3 in others]
        return min(0.4, *distances)

    return max((0.0, -0.15, 0.15, -0.3, 0.3, -0.45, 0.45), key=clearance)


def _merge_legend(axes: Axes, genotype: Genotype) -> None:
    used = dict.fromkeys(["input", *(cell.merge for cell in genotype.cells)])
    handles = [
        Line2D(
            [], [], marker="o", linestyle="", markerfacecolor=MERGE_COLOURS[name], markeredgecolor="black", label=name
        )
        for name in used
    ]
    handles.append(
        Line2D(
            [],
            [],
            marker="o",
            linestyle="",
            markerfacecolor="white",
            markeredgecolor="black",
            markeredgewidth=2,
            label="output",
        )
    )
    if any(genotype.dangling):
        handles.append(Line2D([], [], linestyle="--", color="#9a3b26", label="dangling add"))
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=6, fontsize=7, frameon=False)


def _axes(size: tuple[float, float], x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _label_lines(axes: Axes, trials: Sequence[Trial]) -> None:
    """Names beside their lines, moved apart where the lines lie close."""
    low, high = axes.get_ylim()
    taken = float("-inf")
    for trial in sorted(trials, key=lambda trial: trial.reward or 0.0):
        height = ((trial.reward or 0.0) - low) / (high - low)
        taken = max(height, taken + 0.045)
        axes.text(1.01, taken, _name(trial), transform=axes.transAxes, fontsize=8, color=KNOWN_COLOUR, va="center")


def _name(trial: Trial) -> str:
    return trial.candidate.origin.removeprefix(KNOWN_PREFIX)


def _gain_label(name: str) -> str:
    return f"{name} (%) on the reward split" if name.startswith("AP") else name
