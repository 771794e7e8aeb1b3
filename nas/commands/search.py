"""`nasfpn search`: from an experiment to an exported neck and a report."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from nas.configuration import override
from nas.data.config import DataError
from nas.data.problems import Problem
from nas.results.report import write_report
from nas.results.summary import (
    TITLES,
    Row,
    best,
    best_found,
    cell,
    closing_rows,
    columns,
    front_rows,
    front_title,
    known_necks,
    over_limits,
    rejections,
    scored,
    searcher_name,
)
from nas.search.config import SearchConfig, build_space, load_search
from nas.search.plan import Plan
from nas.search.proposing import build_controller, known_neck
from nas.search.records import KNOWN_PREFIX, Trial
from nas.search.run_directory import RunDirectory

console = Console(highlight=False)


def search(experiment: str, run_dir: Path, assignments: list[str], controller: str | None, address: str | None) -> None:
    config = load_search(experiment)
    if controller is not None and controller != config.controller.name:
        config = override(config, [f"controller.name={json.dumps(controller)}", "controller.options={}"])
    config = override(config, assignments)
    build_controller(config, build_space(config))
    for name in config.known:
        known_neck(name, config)
    run = RunDirectory(run_dir)
    with run.claim(config):
        trials = _run(config, run, address)
    _print_tables(config, trials)
    console.print(f"report: {write_report(run, config, trials)}", soft_wrap=True)
    if best_found(trials) is not None:
        _export_best(config, run, trials)


def _run(config: SearchConfig, run: RunDirectory, address: str | None) -> list[Trial]:
    from nas.data.check import check_data
    from nas.search.engine import run_search

    _refuse_bad_data(config.data.root, check_data(config.data))
    console.print(
        f"[bold]{config.name}[/]: {len(set(config.known))} known necks, {config.random_trials} random, "
        f"{config.trials} by {searcher_name(config)}; everything goes to {run.path}",
        soft_wrap=True,
    )
    return run_search(config, run, on_outcome=_Progress(config), address=address)


def _export_best(config: SearchConfig, run: RunDirectory, trials: list[Trial]) -> None:
    from nas.results.export import export

    trial = export(run, trials, run.best)
    name = config.reward.name
    line = f"best neck found: trial {trial.number}, {name} {trial.reward:.1f}"
    known = best(known_necks(trials))
    if known is not None and known.reward is not None and trial.reward is not None:
        verb = "beats" if trial.reward > known.reward else "does not beat"
        neck = known.candidate.origin.removeprefix(KNOWN_PREFIX) + over_limits(config, known)
        line += f"; it {verb} the best known neck, {neck}, {name} {known.reward:.1f}"
    console.print(f"{line}\nexported to {run.best}", soft_wrap=True)


class _Progress:
    """One line per finished trial."""

    def __init__(self, config: SearchConfig) -> None:
        self.config = config
        self._best = -math.inf

    def __call__(self, trial: Trial, plan: Plan) -> None:
        """Rejected candidates get no line: there may be many for each that is trained."""
        if trial.rejected:
            return
        name = self.config.reward.name
        line = f"[{plan.total - plan.left:3d}/{plan.total}] {trial.candidate.origin:14s} "
        if trial.reward is None:
            line += f"failed: {trial.error}"
        elif trial.copied_from is not None:
            line += f"{name} {trial.reward:5.1f}  the same function as trial {trial.copied_from}"
        elif trial.state == "stopped":
            line += f"{name} {trial.reward:5.1f}  stopped early {trial.metrics.get('seconds', 0):5.1f} s"
        else:
            if self._best == -math.inf:
                self._best = max(done.reward or 0.0 for done in scored(plan.journal.trials()))
            self._best = max(self._best, trial.reward)
            line += f"{name} {trial.reward:5.1f}  best {self._best:5.1f}  {cell(trial, 'params'):>6s} k params"
            line += f" {cell(trial, 'macs'):>6s} M MACs {trial.metrics.get('seconds', 0):5.1f} s"
        console.print(line, markup=False, soft_wrap=True)


def _print_tables(config: SearchConfig, trials: list[Trial]) -> None:
    title = "AP on the reward split, one training each; parameters, MACs, latency of the neck"
    _print_table(title, closing_rows(config, trials), columns(config))
    _print_table(front_title(config), front_rows(config, trials), columns(config))
    if rejections(trials):
        console.print(rejections(trials), soft_wrap=True)


def _print_table(title: str, rows: Sequence[Row], names: Sequence[str]) -> None:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("neck", no_wrap=True)
    for name in names:
        table.add_column(TITLES.get(name, name), justify="right")
    for row in rows:
        if row.trial is None:
            table.add_row(row.label, "not scored")
        else:
            table.add_row(row.label, *(cell(row.trial, name) for name in names))
    console.print(table)


def _refuse_bad_data(root: str, problems: Sequence[Problem]) -> None:
    errors = [problem for problem in problems if problem.severity == "error"]
    for problem in problems:
        console.print(str(problem), markup=False, soft_wrap=True)
    if errors:
        raise DataError(f"{root} has errors ({len(errors)}, above); mend them and see: nasfpn data check {root}")
