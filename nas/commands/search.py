"""`nasfpn search`: from an experiment to an exported neck and a report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from rich.box import SIMPLE_HEAD
from rich.table import Table

from nas.commands.checked_data import check_command, require_good_data
from nas.commands.given_necks import with_given_necks
from nas.commands.logs import logged
from nas.commands.precision import with_precision
from nas.commands.progress import Progress
from nas.configuration import ConfigError, override
from nas.engine.task import require_references
from nas.export.files import PICTURE_FILE
from nas.results.confirmed import HEADINGS, conclusion, observation, standing_rows, table_title, verdict_of
from nas.results.report import write_report
from nas.results.summary import (
    TITLES,
    Row,
    candidates,
    cell,
    closing_rows,
    columns,
    failure_reasons,
    front_rows,
    front_title,
    rejections,
    searcher_name,
    steps_line,
)
from nas.runs.journal import open_journal
from nas.runs.own_code import remember_code, require_trusted_code, trust_code
from nas.runs.places import opened, shown
from nas.runs.run_directory import RunDirectory
from nas.search.budget import BudgetConfig
from nas.search.config import SearchConfig, build_space, load_search
from nas.search.confirmation import Verdict
from nas.search.proposing import build_controller, known_neck
from nas.search.records import SEARCH, Trial
from nas.search.standings import best_found
from nas.terminal import console, heading
from nas.tracking.trackers import Trackers, made, tracked

MOST_NUMBERS = 8


def search(
    experiment: str,
    run_dir: str,
    assignments: list[str],
    controller: str | None,
    address: str | None,
    resume: bool,
    track: Sequence[str] = (),
    verbose: bool = False,
) -> None:
    config = load_search(experiment)
    if controller is not None and controller != config.controller.name:
        config = override(config, [f"controller.name={json.dumps(controller)}", "controller.options={}"])
    config = _tracked_by(with_given_necks(override(config, assignments)), track)
    with opened(run_dir, existing=resume) as run:
        _search(config, run, run_dir, address, verbose, check_command(experiment, assignments))


def extend(
    run_dir: str,
    trials: str,
    workers: int | None,
    address: str | None,
    track: Sequence[str] = (),
    verbose: bool = False,
) -> None:
    """Go on with a search as it was configured, with more trials: `+N` more, or `N` in all."""
    with opened(run_dir, existing=True) as run:
        config = run.read_config()
        require_trusted_code(run, config)
        config = override(config, [f"trials={_extended(config, open_journal(run).trials(), trials)}"])
        config = _tracked_by(replace(config, budget=BudgetConfig()), track)
        if workers is not None:
            config = override(config, [f"resources.workers={workers}"])
        line = f"{config.trials} candidates in all; cut off, it goes on with: nasfpn extend {run_dir} --trials +0"
        console.print(line, soft_wrap=True)
        _search(config, run, run_dir, address, verbose, check_command(run_dir))


def _extended(config: SearchConfig, trials: Sequence[Trial], wish: str) -> int:
    """Candidates in all; of a search that its budget ended, those that it has count."""
    before = config.trials
    if config.budget.is_set:
        before = sum(trial.candidate.origin == SEARCH and not trial.rejected for trial in trials)
    number = wish.removeprefix("+")
    if number.isdecimal():
        total = int(number) + (before if wish.startswith("+") else 0)
        if total >= before:
            return total
    raise ConfigError(
        f"--trials takes +N for N more candidates, or a number of at least the {before} there are; got {wish!r}"
    )


def _search(
    config: SearchConfig,
    run: RunDirectory,
    place: str,
    address: str | None,
    verbose: bool,
    check: str,
) -> None:
    """
    Args:
        check: the command that checks the data.
    """
    trust_code(config)
    require_references(config)
    build_controller(config, build_space(config))
    for name in config.known:
        known_neck(name, config)
    before = run.read_config().proxy.precision if run.config_file.is_file() else "auto"
    config = with_precision(config, before)
    trackers = made(config.track)
    with ExitStack() as stack:
        with run.claim(config):
            if config.data is not None:
                require_good_data(config.data, check)
            remember_code(run, config)
            told = stack.enter_context(tracked(trackers, config, run.path, run.study()))
            trials = _run(config, run, place, address, told, verbose)
        _print_tables(config, trials)
        page = write_report(run, config, trials, place)
        console.print(f"report: {shown(place, run, page)}", soft_wrap=True)
        if best_found(trials) is not None:
            _export_best(config, run, place, trials)
        told.artifact(page)
        told.artifact(run.best / PICTURE_FILE)


def _tracked_by(config: SearchConfig, names: Sequence[str]) -> SearchConfig:
    return override(config, [f"track={json.dumps(list(dict.fromkeys([*config.track, *names])))}"]) if names else config


def _run(
    config: SearchConfig, run: RunDirectory, place: str, address: str | None, told: Trackers, verbose: bool
) -> list[Trial]:
    from nas.engine.run import run_search

    parts = [f"{len(set(config.known))} known necks", f"{config.random_trials} random"]
    parts.append(f"{candidates(config)} by {searcher_name(config)}")
    if config.confirm.trainings:
        parts.append(f"{config.confirm.trainings} trainings to confirm the best")
    line = heading(config.name, f": {', '.join(parts)}; everything goes to {shown(place, run)}")
    console.print(line, soft_wrap=True)
    with logged(run.log), Progress(config, told, verbose=verbose) as progress:
        return run_search(config, run, progress, address=address)


def _export_best(config: SearchConfig, run: RunDirectory, place: str, trials: list[Trial]) -> None:
    from nas.results.export import export, has_weights

    trial = export(run, trials, run.best)
    verdict = verdict_of(config, trials)
    line = _observed(config, trials, trial) if verdict is None else conclusion(config, verdict)
    alone = "" if has_weights(run.best) else " (its topology alone, as the task gave no neck)"
    console.print(f"{line}\nexported to {shown(place, run, run.best)}{alone}", soft_wrap=True)


def _observed(config: SearchConfig, trials: list[Trial], trial: Trial) -> str:
    """The answer of a search without a confirmation."""
    name = config.reward.name
    line = f"best neck found: trial {trial.number}, {name} {config.reward.shown(trial.reward or 0.0)}"
    return "; ".join(filter(None, (line, observation(config, trials, trial))))


def _print_tables(config: SearchConfig, trials: list[Trial]) -> None:
    title = f"{config.reward.name}, one training each; cost of the neck alone"
    if config.task.is_proxy:
        title = "AP on the reward split, one training each; cost of the neck alone"
    _print_table(title, closing_rows(config, trials), columns(config, trials))
    _print_table(front_title(config), front_rows(config, trials), columns(config, trials))
    if (verdict := verdict_of(config, trials)) is not None:
        _print_confirmation(config, verdict)
    for line in filter(None, (steps_line(config, trials), rejections(trials))):
        console.print(line, soft_wrap=True)
    for reason, numbers in failure_reasons(trials).items():
        line = f"{len(numbers)} failed (trial {', '.join(map(str, numbers[:MOST_NUMBERS]))}): {reason}"
        console.print(line, soft_wrap=True)


def _print_confirmation(config: SearchConfig, verdict: Verdict) -> None:
    table = _table(table_title(config, verdict))
    table.add_column(HEADINGS[0], no_wrap=True)
    for name in HEADINGS[1:]:
        table.add_column(name, justify="right")
    for row in standing_rows(config, verdict):
        table.add_row(*row)
    console.print(table)


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)


def _print_table(title: str, rows: Sequence[Row], names: Sequence[str]) -> None:
    table = _table(title)
    table.add_column("neck", no_wrap=True)
    for name in names:
        table.add_column(TITLES.get(name, name), justify="right")
    for row in rows:
        if row.trial is None:
            table.add_row(row.label, "not scored")
        else:
            table.add_row(row.label, *(cell(row.trial, name) for name in names))
    console.print(table)
