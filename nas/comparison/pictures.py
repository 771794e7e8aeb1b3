"""Scores of the proxy beside those of the long training, drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from nas.comparison.check import NeckScores
from nas.comparison.final import FOUND_GROUP, Standing
from nas.comparison.necks import KNOWN_GROUP, RANDOM_GROUP

COLOURS = {KNOWN_GROUP: "#c8553d", FOUND_GROUP: "#1b6ca8", RANDOM_GROUP: "#8a8a8a"}


def proxy_against_reference(scores: Sequence[NeckScores], proxy: str, reference: str) -> Figure:
    """One point per neck, mean AP with lines from its lowest to its highest seed; known necks by name.

    Args:
        proxy, reference: what to call the two trainings.
    """
    figure = Figure(figsize=(6.4, 5.2), layout="constrained")
    axes = figure.add_subplot()
    for row in scores:
        x, y = np.mean(row.proxy), np.mean(row.reference)
        is_known = row.neck.group == KNOWN_GROUP
        colour = COLOURS[row.neck.group]
        axes.plot([min(row.proxy), max(row.proxy)], [y, y], color=colour, linewidth=0.8)
        axes.plot([x, x], [min(row.reference), max(row.reference)], color=colour, linewidth=0.8)
        axes.plot(x, y, "o", color=colour, markersize=5)
        if is_known:
            axes.annotate(row.neck.label, (x, y), xytext=(5, 4), textcoords="offset points", fontsize=7)
    axes.set_xlabel(f"AP, {proxy}")
    axes.set_ylabel(f"AP, {reference}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return figure


def means_with_intervals(standings: Sequence[Standing]) -> Figure:
    """Each contender's mean AP on the test split with its 95 % interval and every seed, the best on top."""
    figure = Figure(figsize=(6.8, 1.0 + 0.32 * len(standings)), layout="constrained")
    axes = figure.add_subplot()
    for place, entry in enumerate(reversed(standings)):
        colour = COLOURS[entry.contender.neck.group]
        axes.plot(entry.aps, [place] * len(entry.aps), "|", color=colour, markersize=7, alpha=0.6)
        if len(entry.aps) > 1:
            axes.plot([entry.mean - entry.margin, entry.mean + entry.margin], [place, place], color=colour)
        axes.plot(entry.mean, place, "o", color=colour, markersize=5)
    axes.set_yticks(range(len(standings)), [entry.contender.neck.label for entry in reversed(standings)], fontsize=8)
    axes.set_xlabel("AP on the test split, 95 % interval of the mean")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", alpha=0.25)
    return figure
