"""The page of a report: HTML with its figures, styles and script inside, so that it needs no network.

The template `assets/report.html` is the only place where HTML is made, and what comes from data is escaped there. The
page's policy lets nothing run but the script of this project, and nothing load.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nas.credentials import without_credentials_in
from nas.drawing import layout
from nas.drawing.architecture import BARE_RADIUS, DANGLING_COLOUR, MERGE_COLOURS, RADIUS
from nas.drawing.inline_svg import inline_svg
from nas.results.figures import ReportFigure
from nas.results.page_tables import Table
from nas.results.summary import TITLES, cell
from nas.results.trials import TRIALS_FILE
from nas.search.records import Trial
from nas.terminal import shown

SECTIONS = {
    "search": "The search",
    "confirmation": "Confirmed",
    "cost": "What it costs",
    "architectures": "Best necks found",
    "decisions": "What decided",
    "final": "Trained in full",
    "failures": "Failures",
    "trials": "All trials",
    "origin": "Command and versions",
}
ALWAYS = ("search", "trials", "origin")

POLICY = (
    "default-src 'none'; script-src '{script}'; style-src '{style}'; img-src data:; base-uri 'none'; "
    "form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Content-Security-Policy; script and style are allowed by their hashes. Trusted types forbid the script to make
elements out of text."""


@dataclass(frozen=True)
class Picture:
    """An `svg` element, and what is said below it."""

    svg: Markup
    caption: str


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where the results come from.

    Args:
        command: as for a shell; a line for each that went on with the search and changed a setting.
        everything: environment and configuration, as JSON.
    """

    command: str
    versions: str
    everything: str


@dataclass(frozen=True, kw_only=True)
class Content:
    """Content of the sections, as plain text; what is None or empty is left out.

    Args:
        pictures: by section.
        final_steps: of each training of `final`.
    """

    pictures: Mapping[str, Sequence[Picture]]
    closing: Table
    steps: str = ""
    confirmation: Table | None = None
    conclusion: str = ""
    front: Table | None = None
    front_title: str = ""
    final: Table | None = None
    final_steps: int = 0
    failures: Table | None = None
    rejections: str = ""
    measures: str = ""
    num_trials: int
    trials_file: str = TRIALS_FILE
    origin: Origin

    def sections(self) -> dict[str, str]:
        """Titles of those that have something to show, by id."""
        there = {
            **{name: bool(pictures) for name, pictures in self.pictures.items()},
            "confirmation": self.confirmation is not None,
            "final": self.final is not None,
            "failures": bool(self.failures or self.rejections),
            **dict.fromkeys(ALWAYS, True),
        }
        there["cost"] = there.get("cost", False) or self.front is not None
        return {name: title for name, title in SECTIONS.items() if there.get(name)}


def page(title: str, facts: Mapping[str, str], content: Content, data: Mapping[str, Any]) -> str:
    """The whole document.

    Args:
        facts: numbers to begin with, by label.
        data: what the script shows; see `script_data`.
    """
    assets = files("nas.results") / "assets"
    style, script = ((assets / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    return (
        _environment()
        .get_template("report.html")
        .render(
            title=title,
            facts=facts,
            content=content,
            sections=content.sections(),
            data=data,
            policy=POLICY.format(script=_hash(script), style=_hash(style)),
            style=Markup(style),
            script=Markup(script),
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("nas.results", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: value if isinstance(value, Markup) else shown(str(value)),
        keep_trailing_newline=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return environment


def _hash(text: str) -> str:
    """As a policy names what it allows."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def pictures(figures: Iterable[ReportFigure]) -> dict[str, list[Picture]]:
    """The figures of each section."""
    found: dict[str, list[Picture]] = {name: [] for name in SECTIONS}
    for figure in figures:
        found[figure.section].append(Picture(inline_svg(figure.plot.figure), figure.caption))
    return found


def origin(record: Mapping[str, Any]) -> Origin:
    """The exact command, versions and configuration of a run directory's record."""
    record = without_credentials_in(record)
    everything = {"environment": record["environment"], "config": record["config"]}
    return Origin(
        command="\n".join(shlex.join(map(str, words)) for words in (record["command"], *record["later_commands"])),
        versions=", ".join(f"{key} {value}" for key, value in record["environment"].items() if value),
        everything=json.dumps(everything, indent=2, ensure_ascii=False),
    )


def script_data(
    run: str, figures: Iterable[ReportFigure], trials: Sequence[Trial], columns: Sequence[str], kept: Collection[int]
) -> dict[str, Any]:
    """Data that the page's script needs to show a trial.

    Args:
        run: how commands name the run directory.
        kept: numbers of the trials whose weights can be exported.
    """
    points = {group: numbers for figure in figures for group, numbers in figure.plot.points.items()}
    return {
        "points": points,
        "units": [*TITLES.values(), "channels"],
        "colours": MERGE_COLOURS,
        "danglingColour": DANGLING_COLOUR,
        "radius": RADIUS,
        "bareRadius": BARE_RADIUS,
        "trials": [_trial(trial, columns, _usage(run, trial, kept)) for trial in trials if not trial.rejected],
    }


def _usage(run: str, trial: Trial, kept: Collection[int]) -> list[str]:
    """How to take the neck along: a sentence and a command."""
    name = shlex.quote(f"{run}:{trial.number}")
    if trial.state == "complete" and (trial.number if trial.copied_from is None else trial.copied_from) in kept:
        return ["Weights and files of it:", shown(f"nasfpn export {name} --output DIR")]
    why = "Its weights were not kept (keep_weights)" if trial.state == "complete" else "It has no trained weights"
    return [f"{why}. To train its topology:", shown(f"nasfpn train EXPERIMENT --neck {name} --run-dir DIR")]


def _trial(trial: Trial, columns: Sequence[str], usage: Sequence[str]) -> dict[str, Any]:
    genotype = trial.candidate.genotype
    facts = [[shown(TITLES.get(column, column)), text] for column in columns if (text := cell(trial, column)) != "-"]
    if trial.candidate.channels is not None:
        facts.append(["channels", str(trial.candidate.channels)])
    if trial.error is not None:
        facts.append(["failed:", shown(trial.error)])
    return {
        "number": trial.number,
        "origin": shown(trial.candidate.origin),
        "state": trial.state,
        "reward": trial.reward,
        "facts": facts,
        "usage": usage,
        "genotype": genotype.to_dict(),
        "outputs": sorted(genotype.outputs.values()),
        "arrows": [[arrow.start, arrow.end, int(arrow.dangling), arrow.bend] for arrow in layout.arrows(genotype)],
    }
