"""The report of a search: one HTML page that needs no network, its figures as files, and its trials as data."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from nas.atomic_write import atomic_write
from nas.configuration import ConfigError, from_dict
from nas.errors import UserError
from nas.results import page, page_tables
from nas.results.confirmed import conclusion, interval, percent, verdict_of
from nas.results.figures import ReportFigure, report_figures
from nas.results.labels import neck_name
from nas.results.summary import (
    closing_rows,
    columns,
    failure_reasons,
    front_rows,
    front_title,
    rejections,
    status,
    steps_line,
)
from nas.results.trials import TRIALS_FILE, write_trials
from nas.results.units import resource_hours
from nas.runs.places import shown, trials_with_weights
from nas.runs.run_directory import RunDirectory, RunDirectoryError
from nas.search.config import SearchConfig
from nas.search.records import Trial
from nas.search.standings import best, best_found, known_necks
from search_space.files import is_there, read_json

FIGURE_DPI = 150


def write_report(run: RunDirectory, config: SearchConfig, trials: Sequence[Trial], place: str | None = None) -> Path:
    """Write `report/index.html`, its figures as SVG and PNG, and all trials as `trials.jsonl`; works on a search that
    is still running.

    Args:
        place: URL of the run directory where `run` is a copy of it.

    Returns:
        The path of the page.

    Raises:
        RunDirectoryError: if it cannot be written.
    """
    try:
        return _write(run, config, trials, place or str(run.path))
    except OSError as error:
        raise RunDirectoryError(f"the report in {run.report} cannot be written: {error}") from error


def _write(run: RunDirectory, config: SearchConfig, trials: Sequence[Trial], place: str) -> Path:
    run.report.mkdir(parents=True, exist_ok=True)
    write_trials(trials, run.report / TRIALS_FILE)
    figures = report_figures(config, trials)
    for figure in figures:
        for suffix, options in ((".png", {"dpi": FIGURE_DPI}), (".svg", {"metadata": {"Date": None}})):
            figure.plot.figure.savefig(run.report / f"{figure.name}{suffix}", **options)
    kept = trials_with_weights(place, run)
    data = page.script_data(shown(place, run), figures, trials, columns(config, trials), kept)
    text = page.page(config.name, _facts(run, config, trials), _content(run, config, trials, figures), data)
    path = run.report / "index.html"
    atomic_write(path, text)
    return path


def _facts(run: RunDirectory, config: SearchConfig, trials: Sequence[Trial]) -> dict[str, str]:
    now = status(config, trials, run.is_live())
    seconds = sum(trial.metrics.get("seconds", 0) for trial in trials if trial.copied_from is None)
    counts = {
        "stopped early": now["stopped"],
        "failed": now["failed"],
        "in work": now["running"],
        "rejected": now["rejected"],
    }
    facts = {
        "state": now["state"],
        "trials": f"{now['finished']} of {now['total']} finished",
        **{label: str(count) for label, count in counts.items() if count},
    }
    facts |= _leaders(config, trials)
    facts["trials took"] = resource_hours(config.resources, seconds)
    facts["written"] = f"{datetime.now():%Y-%m-%d %H:%M}"
    return facts


def _leaders(config: SearchConfig, trials: Sequence[Trial]) -> dict[str, str]:
    """The best found and the best known neck, as confirmed or else as observed."""
    verdict = verdict_of(config, trials)
    if verdict is not None:
        pairs = (("best found", verdict.best_found), ("best known neck", verdict.best_known))
        facts = {
            label: f"{config.reward.name} {config.reward.shown(one.mean)} ({interval(config, one.low, one.high)}), "
            + neck_name(config, one.trial)
            for label, one in pairs
        }
        return {**facts, "better with probability": percent(verdict.probability)}
    observed = (("best found, observed", best_found(trials)), ("best known neck, observed", best(known_necks(trials))))
    return {
        label: f"{config.reward.name} {config.reward.shown(trial.reward)}, {neck_name(config, trial)}"
        for label, trial in observed
        if trial is not None and trial.reward is not None
    }


def _content(
    run: RunDirectory, config: SearchConfig, trials: Sequence[Trial], figures: Sequence[ReportFigure]
) -> page.Content:
    front = front_rows(config, trials)
    verdict = verdict_of(config, trials)
    return page.Content(
        pictures=page.pictures(figures),
        closing=page_tables.trial_table(closing_rows(config, trials), columns(config, trials)),
        steps=steps_line(config, trials),
        confirmation=None if verdict is None else page_tables.standing_table(config, verdict),
        conclusion="" if verdict is None else conclusion(config, verdict),
        front=page_tables.trial_table(front, columns(config, trials)) if front else None,
        front_title=front_title(config),
        failures=page_tables.failure_table(failure_reasons(trials)),
        rejections=rejections(trials),
        measures=_measures(config),
        num_trials=len(trials),
        **_final(run),
        origin=page.origin(run.read_record()),
    )


def _measures(config: SearchConfig) -> str:
    """Note below the tables: units of their figures."""
    if config.task.is_proxy:
        return (
            "AP is in percent on the reward split, one training each. Parameters, multiply-adds and latency (batch 1, "
            "on the worker) are those of the neck alone."
        )
    return (
        f"The metrics are those of the task {config.task.name}, one training each; costs are those of the neck alone."
    )


def _final(run: RunDirectory) -> dict[str, Any]:
    """Standings of `nasfpn retrain`, where it was run.

    Raises:
        UserError: if its record is damaged.
    """
    path = run.final / "final.json"
    if not is_there(path):
        return {}
    try:
        record = from_dict(page_tables.FinalRecord, read_json(path, UserError))
    except ConfigError as error:
        raise UserError(f"{path} is damaged ({error}); run nasfpn retrain again, or remove it") from error
    return {"final": page_tables.final_table(record), "final_steps": record.steps}
