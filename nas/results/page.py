"""The page of a report: HTML with its figures, styles and script inside, so that it needs no network."""

from __future__ import annotations

import html
import io
import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from matplotlib.figure import Figure

from nas.results import layout
from nas.results.architecture import BARE_RADIUS, DANGLING_COLOUR, MERGE_COLOURS, RADIUS
from nas.results.figures import ReportFigure
from nas.results.summary import TITLES, Row, cell
from nas.search.records import Trial

SECTIONS = {
    "search": "The search",
    "cost": "What AP costs",
    "architectures": "Best necks found",
    "decisions": "What decided",
    "final": "Trained in full",
    "failures": "Failures",
    "trials": "All trials",
    "origin": "Command and versions",
}


def page(title: str, facts: Mapping[str, str], sections: Mapping[str, str], data: Mapping[str, Any]) -> str:
    """The whole document.

    Args:
        facts: numbers to begin with, by label.
        sections: HTML by id, of `SECTIONS`; empty ones are left out.
        data: what the script shows; see `script_data`.
    """
    assets = files("nas.results") / "assets"
    style, script = ((assets / name).read_text() for name in ("report.css", "report.js"))
    there = {key: sections[key] for key in SECTIONS if sections.get(key)}
    links = "".join(f"<a href='#{key}'>{SECTIONS[key]}</a>" for key in there)
    body = "".join(f"<section id={key}><h2>{SECTIONS[key]}</h2>{text}</section>" for key, text in there.items())
    cards = "".join(f"<div><dt>{_text(label)}</dt><dd>{_text(value)}</dd></div>" for label, value in facts.items())
    embedded = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        f"<link rel=icon href='data:,'><title>{_text(title)}</title><style>{style}</style></head>"
        f"<body><h1>{_text(title)}</h1><nav>{links}</nav><dl class=facts>{cards}</dl>{body}"
        "<div id=tip role=status></div><dialog id=panel></dialog>"
        f"<script id=data type='application/json'>{embedded}</script><script>{script}</script></body></html>\n"
    )


def figures_of(section: str, figures: Iterable[ReportFigure]) -> str:
    """The figures of a section as HTML."""
    inside = "".join(
        f"<figure>{_inline(figure.plot.figure)}<figcaption>{_text(figure.caption)}</figcaption></figure>"
        for figure in figures
        if figure.section == section
    )
    return f"<div class=figures>{inside}</div>" if inside else ""


def _inline(figure: Figure) -> str:
    """The figure as an SVG element in the colours of the page: what is black there takes the colour of the text."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = re.sub(r"#000000|(?<=: )black", "currentColor", text[text.index("<svg") :])
    return text.replace("<svg ", "<svg role='img' ", 1)


def table(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """Rows of trials; a click on one opens it."""
    head = "".join(f"<th>{TITLES.get(column, column)}</th>" for column in ("neck", *columns))
    body = ""
    for row in rows:
        if row.trial is not None:
            cells = "".join(f"<td>{cell(row.trial, column)}</td>" for column in columns)
            body += f"<tr data-trial={row.trial.number}><td>{_text(row.label)}</td>{cells}</tr>"
    return _table(head, body)


@dataclass(frozen=True)
class FinalStanding:
    """A neck that `nasfpn retrain` trained."""

    neck: str
    AP: list[float]
    mean: float
    margin: float | None
    channels: int
    macs: float
    params: float


@dataclass(frozen=True)
class FinalRecord:
    """What is read of `final.json`."""

    steps: int
    standings: list[FinalStanding]


def final_table(record: FinalRecord) -> str:
    """What `nasfpn retrain` found."""
    names = ("neck", "AP", "± (95 %)", "seeds", "channels", "MACs (M)", "params (k)")
    body = "".join(
        f"<tr><td>{_text(entry.neck)}</td><td>{entry.mean:.2f}</td>"
        f"<td>{'-' if entry.margin is None else format(entry.margin, '.2f')}</td><td>{len(entry.AP)}</td>"
        f"<td>{entry.channels}</td><td>{entry.macs / 1e6:.1f}</td><td>{entry.params / 1e3:.0f}</td></tr>"
        for entry in record.standings
    )
    return (
        f"<p>{record.steps} steps each, scored on the test split: no candidate was chosen by these images. "
        f"Multiply-adds are those of neck and head.</p>{_table(''.join(f'<th>{name}</th>' for name in names), body)}"
    )


def failures(reasons: Mapping[str, Sequence[int]]) -> str:
    """Reasons with the numbers of their trials."""
    body = "".join(
        f"<tr><td>{_text(reason)}</td><td>{len(numbers)}</td><td>{_some(numbers)}</td></tr>"
        for reason, numbers in reasons.items()
    )
    return _table("<th>reason</th><th>trials</th><th>which</th>", body) if reasons else ""


def origin(record: Mapping[str, Any]) -> str:
    """The exact command, versions and configuration."""
    versions = ", ".join(f"{key} {value}" for key, value in record["environment"].items() if value)
    everything = json.dumps({"environment": record["environment"], "config": record["config"]}, indent=2)
    return (
        f"<pre>{_text(shlex.join(record['command']))}</pre><p>{_text(versions)}</p>"
        f"<details><summary>the whole configuration</summary><pre>{_text(everything)}</pre></details>"
    )


def script_data(
    run: str, figures: Iterable[ReportFigure], trials: Sequence[Trial], columns: Sequence[str]
) -> dict[str, Any]:
    """What the script needs to show a trial.

    Args:
        run: how commands name the run directory.
    """
    points = {group: numbers for figure in figures for group, numbers in figure.plot.points.items()}
    return {
        "run": run,
        "points": points,
        "units": list(TITLES.values()),
        "colours": MERGE_COLOURS,
        "danglingColour": DANGLING_COLOUR,
        "radius": RADIUS,
        "bareRadius": BARE_RADIUS,
        "trials": [_trial(trial, columns) for trial in trials if not trial.rejected],
    }


def _trial(trial: Trial, columns: Sequence[str]) -> dict[str, Any]:
    genotype = trial.candidate.genotype
    facts = [[TITLES.get(column, column), text] for column in columns if (text := cell(trial, column)) != "-"]
    if trial.error is not None:
        facts.append(["failed:", trial.error])
    return {
        "number": trial.number,
        "origin": trial.candidate.origin,
        "state": trial.state,
        "reward": trial.reward,
        "facts": facts,
        "genotype": genotype.to_dict(),
        "outputs": sorted(genotype.outputs.values()),
        "arrows": [[arrow.start, arrow.end, int(arrow.dangling), arrow.bend] for arrow in layout.arrows(genotype)],
    }


def _table(head: str, body: str) -> str:
    return f"<div class=table><table><tr>{head}</tr>{body}</table></div>"


def _some(numbers: Sequence[int], most: int = 12) -> str:
    more = f" and {len(numbers) - most} more" if len(numbers) > most else ""
    return ", ".join(map(str, numbers[:most])) + more


def _text(text: object) -> str:
    return html.escape(str(text))
