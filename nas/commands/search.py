"""`nasfpn search`: from an experiment to an exported neck and a report."""

from __future__ import annotations

from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from nas.configuration import ConfigError, load_experiment, override
from nas.data.check import check_data
from nas.data.config import DataConfig, DataError
from nas.results.export import export
from nas.results.report import write_report
from nas.results.summary import COLUMNS, TITLES, best, best_found, cell, closing_rows, scored, searcher_name
from nas.search.config import SearchConfig, build_space
from nas.search.engine import run_search
from nas.search.journal import Trial
from nas.search.plan import Plan, build_controller
from nas.search.run_directory import RunDirectory
from nas.search.worker import MakeTask, make_proxy_task

console = Console(highlight=False)


def search(
    experiment: str,
    run_dir: Path,
    assignments: list[str],
    address: str | None,
    make_task: MakeTask = make_proxy_task,
) -> None:
    config = override(_experiment(experiment), assignments)
    build_controller(config, build_space(config))
    run = RunDirectory(run_dir)
    with run.claim(config):
        if make_task is make_proxy_task:
            _refuse_bad_data(config.data)
        console.print(
            f"[bold]{config.name}[/]: {len(set(config.known))} known necks, {config.random_trials} random, "
            f"{config.trials} by {searcher_name(config)}; everything goes to {run.path}",
            soft_wrap=True,
        )
        trials = run_search(config, run, on_outcome=_Progress(config), address=address, make_task=make_task)
        _print_closing_table(config, trials)
        if best_found(trials) is not None:
            exported = export(run, trials, run.best)
            console.print(f"best neck: trial {exported.number}, exported to {run.best}", soft_wrap=True)
        console.print(f"report: {write_report(run, config, trials)}", soft_wrap=True)


class _Progress:
    """One line per finished trial."""

    def __init__(self, config: SearchConfig) -> None:
        self.config = config

    def __call__(self, trial: Trial, plan: Plan) -> None:
        trials = plan.journal.trials()
        done = sum(entry.state != "running" for entry in trials)
        line = f"[{done:3d}/{plan.total()}] {trial.candidate.origin:14s} "
        if trial.reward is None:
            line += f"failed: {trial.error}"
        elif trial.copied_from is not None:
            line += f"AP {trial.reward:5.1f}  the same function as trial {trial.copied_from}"
        else:
            leader = best(scored(trials))
            assert leader is not None
            metrics = trial.metrics
            line += f"AP {trial.reward:5.1f}  best {leader.reward or 0:5.1f}  {cell(trial, 'params'):>6s} k params"
            line += f" {cell(trial, 'macs'):>6s} M MACs {metrics.get('seconds', 0):5.1f} s"
        console.print(line, markup=False, soft_wrap=True)


def _print_closing_table(config: SearchConfig, trials: list[Trial]) -> None:
    table = Table(
        title="AP on the reward split, one training each; parameters, MACs, latency of the neck",
        title_justify="left",
        box=SIMPLE,
    )
    table.add_column("neck", no_wrap=True)
    for column in COLUMNS:
        table.add_column(TITLES.get(column, column), justify="right")
    for row in closing_rows(config, trials):
        if row.trial is None:
            table.add_row(row.label, "not scored")
        else:
            table.add_row(row.label, *(cell(row.trial, column) for column in COLUMNS))
    console.print(table)


def _experiment(name: str) -> SearchConfig:
    config = load_experiment(name)
    if not isinstance(config, SearchConfig):
        raise ConfigError(f"{name} must return a SearchConfig, it returned {type(config).__name__}")
    return config


def _refuse_bad_data(data: DataConfig) -> None:
    problems = check_data(data)
    errors = [problem for problem in problems if problem.severity == "error"]
    for problem in problems:
        console.print(str(problem), markup=False, soft_wrap=True)
    if errors:
        raise DataError(f"{data.root} has {len(errors)} errors; mend them, then see: nasfpn data check {data.root}")
