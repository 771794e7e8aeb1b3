"""The report's plots, drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nas.results.front import pareto_front
from nas.results.summary import trained
from nas.search.records import KNOWN_PREFIX, RANDOM, SEARCH, Trial
from nas.search.standings import found, known_necks, scored
from nas.text import label_text

mpl.rcParams["svg.fonttype"] = "none"
mpl.rcParams["svg.hashsalt"] = "nas-fpn"

COLOURS = {SEARCH: "#1b6ca8", RANDOM: "#8a8a8a"}
KNOWN_COLOUR = "#c8553d"

COST_AXES = {
    "params": (1e3, "parameters of the neck (k)"),
    "macs": (1e6, "multiply-adds of the neck (M)"),
    "latency_ms": (1.0, "latency of the neck, batch 1 (ms)"),
}
"""Metric -> unit, label."""


@dataclass(frozen=True)
class Plot:
    """A figure, and what its markers stand for.

    Args:
        points: id of a group of markers in the SVG -> numbers of its trials, in the order drawn.
    """

    figure: Figure
    points: dict[str, list[int]] = field(default_factory=dict)


def ap_over_trials(trials: Sequence[Trial], controller: str, reward: str = "AP") -> Plot:
    """The reward of each candidate in the order of proposal, the best new neck so far, and the known necks as lines; of
    those that were stopped early only the places. As in the tables, a candidate that is a known neck is no new one."""
    figure, axes = _axes((7.2, 4.0), "candidates of each kind, in the order proposed", _gain_label(reward))
    plot = Plot(figure)
    for origin, label in ((RANDOM, "random"), (SEARCH, controller)):
        places = {trial.number: place for place, trial in enumerate(trained(trials, origin), start=1)}
        chosen = scored(trials, origin)
        if not chosen:
            continue
        rewards = [trial.reward or 0.0 for trial in chosen]
        steps = [places[trial.number] for trial in chosen]
        points = list(zip(steps, rewards, strict=True))
        _mark(plot, axes, f"trials-{origin}", chosen, points, color=COLOURS[origin], markersize=4, alpha=0.5)
        if new := found(trials, origin):
            running = list(accumulate((trial.reward or 0.0 for trial in new), max))
            ends = [*(places[trial.number] for trial in new), max(places.values())]
            name = f"best of {label_text(label)} so far"
            axes.step(ends, [*running, running[-1]], where="post", color=COLOURS[origin], label=name)
    for trial in known_necks(trials):
        axes.axhline(trial.reward or 0.0, color=KNOWN_COLOUR, linewidth=0.8, linestyle="--")
    _label_lines(axes, known_necks(trials))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend_above(axes)
    return plot


def ap_against_cost(trials: Sequence[Trial], controller: str, cost: str = "macs", metric: str = "AP") -> Plot:
    """AP against a cost of the neck, with the Pareto front; trials without that cost are left out."""

    def point(trial: Trial) -> tuple[float, float]:
        return trial.metrics[cost] / unit, trial.metrics[metric]

    unit, title = COST_AXES.get(cost, (1.0, label_text(cost)))
    figure, axes = _axes((7.2, 4.0), title, _gain_label(metric))
    plot = Plot(figure)
    label = label_text(controller)
    groups = {
        f"{cost}-{RANDOM}": (scored(trials, RANDOM), {"color": COLOURS[RANDOM], "alpha": 0.7, "label": "random"}),
        f"{cost}-{SEARCH}": (
            scored(trials, SEARCH),
            {"color": COLOURS[SEARCH], "alpha": 0.7, "label": label},
        ),
        f"{cost}-known": (known_necks(trials), {"color": KNOWN_COLOUR, "marker": "D", "markersize": 6}),
    }
    for group, (chosen, style) in groups.items():
        measured = [trial for trial in chosen if _has(trial, cost, metric)]
        _mark(plot, axes, group, measured, [point(trial) for trial in measured], **style)
        if group.endswith("known"):
            for trial in measured:
                axes.annotate(_name(trial), point(trial), xytext=(6, 4), textcoords="offset points", fontsize=8)
    front = [point(trial) for trial in pareto_front(trials, cost, metric)]
    if front:
        axes.step(*zip(*front, strict=True), where="post", color="black", linewidth=0.8, label="Pareto front")
    _legend_above(axes)
    return plot


def decision_importances(shares: Mapping[str, float], most: int = 12) -> Plot:
    """The largest shares as bars."""
    chosen = list(shares.items())[:most]
    figure, axes = _axes((7.2, 0.9 + 0.26 * len(chosen)), "share of what decides the reward (%)", "")
    axes.barh([name for name, _ in chosen], [100 * share for _, share in chosen], color=COLOURS[SEARCH], height=0.7)
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=8, length=0)
    return Plot(figure)


def controller_series(series: Mapping[str, Sequence[tuple[int, float]]]) -> Plot:
    """One line each, below each other."""
    figure = Figure(figsize=(7.2, 0.5 + 1.5 * len(series)), layout="constrained")
    rows = figure.subplots(len(series), sharex=True, squeeze=False)[:, 0]
    for axes, (name, values) in zip(rows, series.items(), strict=True):
        axes.plot(*zip(*values, strict=True), color=COLOURS[SEARCH])
        axes.set_title(name, fontsize=9, loc="left")
        _plain(axes)
    axes.set_xlabel("outcomes that the controller has seen")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return Plot(figure)


def _mark(
    plot: Plot, axes: Axes, group: str, trials: Sequence[Trial], points: Sequence[tuple[float, float]], **style: Any
) -> None:
    if points:
        axes.plot(*zip(*points, strict=True), **{"marker": "o", "markersize": 5, "linestyle": "", **style}, gid=group)
        plot.points[group] = [trial.number for trial in trials]


def _has(trial: Trial, *names: str) -> bool:
    return all(trial.metrics.get(name) is not None for name in names)


def _axes(size: tuple[float, float], x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    _plain(axes)
    return figure, axes


def _legend_above(axes: Axes) -> None:
    """Where no marker can lie."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, fontsize=8, frameon=False, borderaxespad=0.2)


def _plain(axes: Axes) -> None:
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _label_lines(axes: Axes, trials: Sequence[Trial]) -> None:
    """Names beside their lines, moved apart where the lines lie close."""
    low, high = axes.get_ylim()
    taken = float("-inf")
    for trial in sorted(trials, key=lambda trial: trial.reward or 0.0):
        height = ((trial.reward or 0.0) - low) / (high - low)
        taken = max(height, taken + 0.045)
        axes.text(1.01, taken, _name(trial), transform=axes.transAxes, fontsize=8, color=KNOWN_COLOUR, va="center")


def _name(trial: Trial) -> str:
    return label_text(trial.candidate.origin.removeprefix(KNOWN_PREFIX))


def _gain_label(name: str) -> str:
    name = label_text(name)
    return f"{name} (%) on the reward split" if name.startswith("AP") else name
