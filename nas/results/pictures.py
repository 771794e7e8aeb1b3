"""The report's pictures, drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyArrowPatch

from nas.results.summary import scored
from nas.search.journal import KNOWN_PREFIX, RANDOM, SEARCH, Trial
from search_space import Genotype

mpl.rcParams["svg.fonttype"] = "none"
mpl.rcParams["svg.hashsalt"] = "nas-fpn"

COLOURS = {SEARCH: "#1b6ca8", RANDOM: "#8a8a8a"}
KNOWN_COLOUR = "#c8553d"
MERGE_COLOURS = {"input": "#d9d9d9", "sum": "#7fb2d9", "attention": "#f2a65a", "fast_normalized": "#8cc084"}


def ap_over_trials(trials: Sequence[Trial], controller: str) -> Figure:
    """AP of each candidate in the order of proposal, the best so far, and the known necks as lines."""
    figure, axes = _axes((7.2, 4.0), "candidates of each kind, in the order proposed", "AP (%) on the reward split")
    for origin, label in ((RANDOM, "random"), (SEARCH, controller)):
        chosen = scored(trials, origin)
        if not chosen:
            continue
        rewards = [trial.reward or 0.0 for trial in chosen]
        steps = range(1, len(rewards) + 1)
        axes.plot(steps, rewards, "o", color=COLOURS[origin], markersize=4, alpha=0.5)
        running = [max(rewards[:count]) for count in steps]
        axes.step(steps, running, where="post", color=COLOURS[origin], label=f"best of {label} so far")
    for trial in _known(trials):
        axes.axhline(trial.reward or 0.0, color=KNOWN_COLOUR, linewidth=0.8, linestyle="--")
        axes.annotate(
            _name(trial),
            (1.0, trial.reward or 0.0),
            xycoords=("axes fraction", "data"),
            xytext=(4, -3),
            textcoords="offset points",
            fontsize=8,
            color=KNOWN_COLOUR,
        )
    axes.legend(loc="lower right", fontsize=8, frameon=False)
    return figure


def ap_against_macs(trials: Sequence[Trial], controller: str) -> Figure:
    """AP against multiply-adds of the neck, with the Pareto front."""
    figure, axes = _axes((7.2, 4.0), "multiply-adds of the neck (M)", "AP (%) on the reward split")
    for origin, label in ((RANDOM, "random"), (SEARCH, controller)):
        points = [_point(trial) for trial in scored(trials, origin)]
        if points:
            axes.plot(*zip(*points, strict=True), "o", color=COLOURS[origin], markersize=5, alpha=0.7, label=label)
    for trial in _known(trials):
        axes.plot(*_point(trial), "D", color=KNOWN_COLOUR, markersize=6)
        axes.annotate(_name(trial), _point(trial), xytext=(6, 4), textcoords="offset points", fontsize=8)
    front = pareto_front([_point(trial) for trial in scored(trials)])
    if front:
        axes.step(*zip(*front, strict=True), where="post", color="black", linewidth=0.8, label="Pareto front")
    axes.legend(loc="lower right", fontsize=8, frameon=False)
    return figure


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points (cost, gain) that no other point beats at equal or lower cost, cheapest first."""
    front: list[tuple[float, float]] = []
    for cost, gain in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or gain > front[-1][1]:
            front.append((cost, gain))
    return front


def architecture(genotype: Genotype) -> Figure:
    """The graph as the NAS-FPN paper draws it: levels as rows, cells as columns, dangling adds dashed."""
    width = max(4.0, 1.0 + 0.85 * (len(genotype.cells) + 1))
    figure = Figure(figsize=(width, 0.8 + 0.75 * len(genotype.levels)), layout="constrained")
    axes = figure.add_subplot()
    axes.set_aspect("equal")
    axes.axis("off")
    places = _places(genotype)
    first = len(genotype.levels)
    for index, cell in enumerate(genotype.cells):
        for node in cell.inputs:
            _arrow(axes, places[node], places[first + index], dashed=False)
        for node in genotype.dangling[index]:
            _arrow(axes, places[node], places[first + index], dashed=True)
    for node, place in enumerate(places):
        _node(axes, genotype, node, place)
    for level, row in zip(genotype.levels, range(first), strict=True):
        axes.text(-0.75, row, f"P{level}", ha="right", va="center", fontsize=10)
    _merge_legend(axes, genotype)
    axes.set_xlim(-1.6, len(genotype.cells) + 0.8)
    axes.set_ylim(-0.75, first - 0.25)
    return figure


def _places(genotype: Genotype) -> list[tuple[float, float]]:
    row = {level: index for index, level in enumerate(genotype.levels)}
    first = len(genotype.levels)
    columns = [0] * first + [index + 1 for index in range(len(genotype.cells))]
    return [(float(column), float(row[level])) for column, level in zip(columns, genotype.node_levels, strict=True)]


def _node(axes: Axes, genotype: Genotype, node: int, place: tuple[float, float]) -> None:
    index = node - len(genotype.levels)
    colour = MERGE_COLOURS["input" if index < 0 else genotype.cells[index].merge]
    is_output = node in genotype.outputs.values()
    bare = index >= 0 and genotype.cells[index].transform == "none"
    axes.add_patch(
        Circle(
            place,
            0.17 if bare else 0.26,
            facecolor=colour,
            edgecolor="black",
            linewidth=2.0 if is_output else 0.8,
            zorder=3,
        )
    )
    axes.text(*place, str(node), ha="center", va="center", fontsize=7, zorder=4)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], *, dashed: bool) -> None:
    long = end[0] - start[0] > 1.5 and start[1] == end[1]
    axes.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=9,
            shrinkA=9,
            shrinkB=9,
            linewidth=0.9,
            linestyle="--" if dashed else "-",
            color="#9a3b26" if dashed else "#555555",
            connectionstyle="arc3,rad=-0.28" if long else "arc3,rad=-0.06",
            zorder=2,
        )
    )


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


def _known(trials: Sequence[Trial]) -> list[Trial]:
    return [trial for trial in scored(trials) if trial.candidate.origin.startswith(KNOWN_PREFIX)]


def _name(trial: Trial) -> str:
    return trial.candidate.origin.removeprefix(KNOWN_PREFIX)


def _point(trial: Trial) -> tuple[float, float]:
    return trial.metrics["macs"] / 1e6, trial.reward or 0.0
