"""The report of a search: one HTML page without network, and its pictures as files."""

from __future__ import annotations

import html
import io
import json
import shlex
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from matplotlib.figure import Figure

from nas.results import pictures
from nas.results.summary import (
    COST_TITLES,
    TITLES,
    Row,
    best_found,
    cell,
    closing_rows,
    columns,
    front_rows,
    front_title,
    rejections,
    scored,
    searcher_name,
    status,
)
from nas.results.trials import TRIALS_FILE, write_trials
from nas.search.config import SearchConfig
from nas.search.records import Trial
from nas.search.run_directory import RunDirectory

STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; display: block; overflow-x: auto }
td, th { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #8884 }
td:first-child, th:first-child { text-align: left }
figure { margin: 1.5rem 0; background: white; padding: .5rem; border-radius: 6px; overflow-x: auto }
figcaption { color: #444; font-size: .85rem } svg { max-width: 100%; height: auto }
pre { overflow-x: auto; padding: .7rem; background: #8882; border-radius: 6px }
"""


def write_report(run: RunDirectory, config: SearchConfig, trials: Sequence[Trial]) -> Path:
    """Write `report/index.html`, the pictures as SVG and PNG, and all trials as `trials.jsonl`; works on a search that
    is still running.

    Returns:
        The path of the page.
    """
    run.report.mkdir(parents=True, exist_ok=True)
    write_trials(trials, run.report / TRIALS_FILE)
    figures = _figures(config, trials)
    inline = {name: _save(figure, run.report / name) for name, (figure, _) in figures.items()}
    parts = [
        f"<h1>{html.escape(config.name)}</h1>",
        _state(run, config, trials),
        _table(closing_rows(config, trials), columns(config)),
        "<p>Params, multiply-adds and latency (batch 1, on the worker) are those of the neck alone. "
        "AP is in percent on the reward split, one training each.</p>",
        *(
            f"<figure>{inline[name]}<figcaption>{html.escape(note)}</figcaption></figure>"
            for name, (_, note) in figures.items()
        ),
        _final(run),
        f"<h2>{html.escape(front_title(config))}</h2>",
        _table(front_rows(config, trials), columns(config)),
        _genotype(trials),
        _failures(trials),
        _origin(run),
    ]
    page = run.report / "index.html"
    partial = page.with_suffix(".partial")
    partial.write_text(
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{html.escape(config.name)}</title><style>{STYLE}</style>{''.join(parts)}</html>\n"
    )
    partial.replace(page)
    return page


def _figures(config: SearchConfig, trials: Sequence[Trial]) -> dict[str, tuple[Figure, str]]:
    figures = {}
    reward = config.reward
    if scored(trials):
        figures["ap_over_trials"] = (
            pictures.ap_over_trials(trials, searcher_name(config), reward.name),
            f"{reward.name} of every candidate and the best so far; dashed lines are the known necks under the same "
            "proxy task.",
        )
        figures[f"ap_against_{reward.cost}"] = (
            pictures.ap_against_cost(trials, searcher_name(config), reward.cost, reward.metric),
            f"{reward.metric} against the neck's {COST_TITLES[reward.cost]}; diamonds are the known necks.",
        )
    if (found := best_found(trials)) is not None:
        figures["best"] = (
            pictures.architecture(found.candidate.genotype),
            f"The best neck found (trial {found.number}). Rows are levels, columns cells in order; numbers are node "
            "indices, dashed arrows the dangling adds.",
        )
    return figures


def _save(figure: Figure, path: Path) -> str:
    """Write PNG and SVG; returns the SVG element for the page."""
    figure.savefig(path.with_suffix(".png"), dpi=150)
    figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    text = path.with_suffix(".svg").read_text()
    return text[text.index("<svg") :]


def _state(run: RunDirectory, config: SearchConfig, trials: Sequence[Trial]) -> str:
    now = status(config, trials, run.is_live())
    seconds = sum(trial.metrics.get("seconds", 0) for trial in scored(trials) if trial.copied_from is None)
    rejected = f" {rejections(trials)}." if rejections(trials) else ""
    return (
        f"<p>{now['finished']} of {now['total']} trials finished, {now['failed']} failed, {now['running']} in work; "
        f"the search is {now['state']}. Trials took {seconds / 60:.1f} worker-minutes.{rejected} "
        f"Written {datetime.now():%Y-%m-%d %H:%M}.</p>"
    )


def _table(rows: Sequence[Row], columns: Sequence[str]) -> str:
    head = "".join(f"<th>{TITLES.get(column, column)}</th>" for column in columns)
    body = ""
    for row in rows:
        if row.trial is not None:
            cells = "".join(f"<td>{cell(row.trial, column)}</td>" for column in columns)
            body += f"<tr><td>{html.escape(row.label)}</td>{cells}</tr>"
    return f"<table><tr><th>neck</th>{head}</tr>{body}</table>"


def _final(run: RunDirectory) -> str:
    """What `nasfpn retrain` found, if it was run."""
    try:
        record = json.loads((run.final / "final.json").read_text())
    except (OSError, ValueError):
        return ""
    rows = "".join(
        f"<tr><td>{html.escape(entry['neck'])}</td><td>{entry['mean']:.2f}</td>"
        f"<td>{'-' if entry['margin'] is None else format(entry['margin'], '.2f')}</td><td>{len(entry['AP'])}</td>"
        f"<td>{entry['channels']}</td><td>{entry['macs'] / 1e6:.1f}</td><td>{entry['params'] / 1e3:.0f}</td></tr>"
        for entry in record["standings"]
    )
    return (
        "<h2>Trained in full, scored on the test split</h2><table><tr><th>neck</th><th>AP</th><th>± (95 %)</th>"
        f"<th>seeds</th><th>channels</th><th>MACs (M)</th><th>params (k)</th></tr>{rows}</table>"
        f"<p>{record['steps']} steps each; no candidate was chosen by these images. Multiply-adds are those of neck "
        "and head.</p>"
    )


def _genotype(trials: Sequence[Trial]) -> str:
    found = best_found(trials)
    if found is None:
        return ""
    return f"<h2>Genotype of the best</h2><pre>{html.escape(found.candidate.genotype.to_json())}</pre>"


def _failures(trials: Sequence[Trial]) -> str:
    failed = [trial for trial in trials if trial.state == "failed" and not trial.rejected]
    if not failed:
        return ""
    lines = "".join(f"<li>trial {trial.number}: {html.escape(trial.error or 'no reason')}</li>" for trial in failed)
    return f"<h2>Failed trials</h2><ul>{lines}</ul>"


def _origin(run: RunDirectory) -> str:
    record = run.read_record()
    buffer = io.StringIO()
    json.dump({"environment": record["environment"], "config": record["config"]}, buffer, indent=2)
    return (
        f"<h2>Command, versions, configuration</h2><pre>{html.escape(shlex.join(record['command']))}</pre>"
        f"<details><summary>all of it</summary><pre>{html.escape(buffer.getvalue())}</pre></details>"
    )
