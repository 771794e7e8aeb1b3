"""Figures of a report, with their captions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nas.drawing.architecture import architecture
from nas.results import pictures
from nas.results.confirmed import verdict_of
from nas.results.controller_state import controller_state
from nas.results.importance import importances
from nas.results.pictures import Plot
from nas.results.summary import cost_titles, searcher_name
from nas.search.config import SearchConfig
from nas.search.records import Trial
from nas.search.standings import SEARCH_ORIGINS, found, known_necks, scored

TOP = 3
"""So many of the best found are drawn."""


@dataclass(frozen=True)
class ReportFigure:
    """
    Args:
        name: of its files, without suffix.
        section: id of the part of the page that it belongs to.
    """

    name: str
    section: str
    plot: Plot
    caption: str


def report_figures(config: SearchConfig, trials: Sequence[Trial]) -> list[ReportFigure]:
    """Figures that can be drawn of these trials."""
    return [*_of_trials(config, trials), *_of_architectures(config, trials), *_of_decisions(config, trials)]


def _of_trials(config: SearchConfig, trials: Sequence[Trial]) -> Iterator[ReportFigure]:
    if not scored(trials):
        return
    reward, searcher = config.reward, searcher_name(config)
    yield ReportFigure(
        "ap_over_trials",
        "search",
        pictures.ap_over_trials(trials, searcher, reward.name),
        f"{reward.name} of every candidate and the best new neck so far; dashed lines are the known necks under the "
        "same task.",
    )
    for cost, title in cost_titles(config).items():
        measured = [trial.metrics for trial in scored(trials)]
        if any(metrics.get(cost) is not None and metrics.get(reward.metric) is not None for metrics in measured):
            yield ReportFigure(
                f"ap_against_{cost}",
                "cost",
                pictures.ap_against_cost(trials, searcher, cost, reward.metric),
                f"{reward.metric} against the neck's {title}; diamonds are the known necks.",
            )


def _of_architectures(config: SearchConfig, trials: Sequence[Trial]) -> Iterator[ReportFigure]:
    for place, (trial, text) in enumerate([*_best_found(config, trials)][:TOP], start=1):
        yield ReportFigure(
            "best" if place == 1 else f"best_{place}",
            "architectures",
            Plot(architecture(trial.candidate.genotype)),
            f"{place}. Trial {trial.number} ({trial.candidate.origin}): {text}.",
        )


def _best_found(config: SearchConfig, trials: Sequence[Trial]) -> Iterator[tuple[Trial, str]]:
    """The best found necks, best first, and what is known of each: confirmed where there is a verdict."""
    verdict, shown = verdict_of(config, trials), config.reward.shown
    if verdict is not None:
        for one in verdict.standings:
            if one.trial.candidate.origin in SEARCH_ORIGINS:
                margin = f"{shown(one.mean - verdict.best_known.mean, signed=True)} against the best known neck"
                yield one.trial, f"{config.reward.name} {shown(one.mean)}, confirmed, {margin}"
        return
    candidates = [trial for origin in SEARCH_ORIGINS for trial in found(trials, origin) if trial.copied_from is None]
    known = max((trial.reward or 0.0 for trial in known_necks(trials)), default=None)
    for trial in sorted(candidates, key=lambda trial: (-(trial.reward or 0.0), trial.number)):
        reward = trial.reward or 0.0
        margin = "" if known is None else f", {shown(reward - known, signed=True)} against the best known neck"
        yield trial, f"{config.reward.name} {shown(reward)}, observed once{margin}"


def _of_decisions(config: SearchConfig, trials: Sequence[Trial]) -> Iterator[ReportFigure]:
    if shares := importances(config, trials):
        yield ReportFigure(
            "importances",
            "decisions",
            pictures.decision_importances(shares),
            "The decisions that all candidates made, by their share in a random forest that predicts the reward "
            "(Optuna's mean decrease impurity). Cells are counted from 0, in the order in which they are computed.",
        )
    if series := controller_state(config, trials):
        yield ReportFigure(
            "controller",
            "decisions",
            pictures.controller_series(series),
            f"The state of the controller ({config.controller.name}) after each outcome, recovered from the journal.",
        )
