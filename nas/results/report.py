"""The report of a search: one HTML page that needs no network, its figures as files, and its trials as data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from nas.results import page
from nas.results.figures import ReportFigure, report_figures
from nas.results.summary import closing_rows, columns, failure_reasons, front_rows, front_title, rejections, status
from nas.results.trials import TRIALS_FILE, write_trials
from nas.results.units import resource_hours
from nas.search.config import SearchConfig
from nas.search.records import KNOWN_PREFIX, Trial
from nas.search.run_directory import RunDirectory
from nas.search.standings import best, best_found, known_necks

FIGURE_DPI = 150


def write_report(run: RunDirectory, config: SearchConfig, trials: Sequence[Trial]) -> Path:
    """Write `report/index.html`, its figures as SVG and PNG, and all trials as `trials.jsonl`; works on a search that
    is still running.

    Returns:
        The path of the page.
    """
    run.report.mkdir(parents=True, exist_ok=True)
    write_trials(trials, run.report / TRIALS_FILE)
    figures = report_figures(config, trials)
    for figure in figures:
        for suffix, options in ((".png", {"dpi": FIGURE_DPI}), (".svg", {"metadata": {"Date": None}})):
            figure.plot.figure.savefig(run.report / f"{figure.name}{suffix}", **options)
    data = page.script_data(run.path.name, figures, trials, columns(config))
    text = page.page(config.name, _facts(run, config, trials), _sections(run, config, trials, figures), data)
    path = run.report / "index.html"
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(path)
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
    for label, trial in (("best found", best_found(trials)), ("best known neck", best(known_necks(trials)))):
        if trial is not None and trial.reward is not None:
            name = (
                trial.candidate.origin.removeprefix(KNOWN_PREFIX)
                if trial.candidate.is_known
                else f"trial {trial.number}"
            )
            facts[label] = f"{config.reward.name} {trial.reward:.1f}, {name}"
    facts["trials took"] = resource_hours(config.resources, seconds)
    facts["written"] = f"{datetime.now():%Y-%m-%d %H:%M}"
    return facts


def _sections(
    run: RunDirectory, config: SearchConfig, trials: Sequence[Trial], figures: Sequence[ReportFigure]
) -> dict[str, str]:
    sections = {name: page.figures_of(name, figures) for name in ("search", "cost", "architectures", "decisions")}
    sections["search"] += page.table(closing_rows(config, trials), columns(config)) + NOTE
    if front := front_rows(config, trials):
        sections["cost"] += f"<h3>{front_title(config)}</h3>{page.table(front, columns(config))}"
    rejected = f"<p>{rejections(trials)}.</p>" if rejections(trials) else ""
    return {
        **sections,
        "final": _final(run),
        "failures": page.failures(failure_reasons(trials)) + rejected,
        "trials": f"<details id=all><summary>{len(trials)} trials; also in {TRIALS_FILE}</summary></details>",
        "origin": page.origin(run.read_record()),
    }


NOTE = (
    "<p>AP is in percent on the reward split, one training each. Parameters, multiply-adds and latency (batch 1, on "
    "the worker) are those of the neck alone.</p>"
)


def _final(run: RunDirectory) -> str:
    try:
        record = json.loads((run.final / "final.json").read_text())
    except (OSError, ValueError):
        return ""
    return page.final_table(record)
