"""What the commands of `nas.cli` do."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from nas.configuration import ConfigError, from_dict, load_experiment, override
from nas.data.check import check_data
from nas.data.config import DataConfig, DataError, SignsConfig
from nas.data.signs import make_signs
from nas.detection.backbone import BackboneConfig, build_backbone
from nas.detection.cost import detector_cost, feature_shapes, neck_cost
from nas.detection.detector import build_detector
from nas.errors import UserError
from nas.results.export import export
from nas.results.report import write_report
from nas.results.summary import COLUMNS, TITLES, best, best_found, cell, closing_rows, scored, status
from nas.search.config import SearchConfig, build_space
from nas.search.engine import run_search
from nas.search.journal import Journal, Trial
from nas.search.plan import Plan, build_controller
from nas.search.run_directory import RunDirectory
from nas.search.worker import MakeTask, make_proxy_task
from necks import build_neck, known_genotype
from necks.exported import GENOTYPE_FILE
from search_space import KNOWN, Genotype

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
            f"{config.trials} by {config.controller.name}; everything goes to {run.path}",
            soft_wrap=True,
        )
        trials = run_search(config, run, on_outcome=_Progress(config), address=address, make_task=make_task)
        _print_closing_table(config, trials)
        if best_found(trials) is not None:
            exported = export(run, trials, run.best)
            console.print(f"best neck: trial {exported.number}, exported to {run.best}", soft_wrap=True)
        console.print(f"report: {write_report(run, config, trials)}", soft_wrap=True)


def show_status(run_dir: Path, as_json: bool) -> None:
    run, config, trials = _open(run_dir)
    now = status(config, trials, run.is_live())
    if as_json:
        sys.stdout.write(json.dumps(now, indent=2) + "\n")
        return
    console.print(
        f"{now['name']}: {now['state']}, {now['finished']} of {now['total']} finished, {now['failed']} failed, "
        f"{now['running']} {'running' if now['state'] == 'running' else 'cut off'}"
    )
    for trial in trials:
        if trial.state == "failed":
            console.print(f"  trial {trial.number} failed: {trial.error}", markup=False)
    for label in ("best", "best_found"):
        if (entry := now[label]) is not None:
            console.print(
                f"{label.replace('_', ' ')}: trial {entry['trial']} ({entry['origin']}), AP {entry['reward']:.1f}"
            )


def make_report(run_dir: Path) -> None:
    run, config, trials = _open(run_dir)
    console.print(f"report: {write_report(run, config, trials)}", soft_wrap=True)


def export_neck(run_dir: Path, output: Path, number: int | None) -> None:
    run, _, trials = _open(run_dir)
    trial = export(run, trials, output, number)
    console.print(f"trial {trial.number} (AP {trial.reward:.1f}) exported to {output}")


def describe_neck(neck: str, backbone_name: str, channels: int, repeats: int | None, size: int, classes: int) -> None:
    genotype = _genotype(neck)
    repeats = repeats or {"nas_fpn": 7, "bifpn": 3}.get(neck, 1)
    backbone = build_backbone(from_dict(BackboneConfig, {"name": backbone_name}))
    try:
        module = build_neck(genotype, in_channels=backbone.channels, out_channels=channels, repeats=repeats)
        detector = build_detector(backbone, module, classes, image_size=size)
    except ValueError as error:
        raise UserError(str(error)) from error
    console.print(_cell_table(genotype))
    alone = neck_cost(module, feature_shapes(backbone, (size, size)))
    whole = detector_cost(detector, (size, size))
    console.print(f"fingerprint {genotype.fingerprint}, {repeats} x {channels} channels, {size} x {size} px")
    for what, cost in (("neck alone", alone), (f"RetinaNet, {backbone_name}, {classes} classes", whole)):
        console.print(f"{what}: {cost.params / 1e6:.2f} M parameters, {cost.macs / 1e9:.2f} G multiply-adds")


def make_data(name: str, root: Path, assignments: list[str]) -> None:
    if name != "signs":
        raise DataError(f"no embedded data set {name!r}; there is: signs")
    config = override(SignsConfig(), assignments)
    make_signs(root, config)
    console.print(f"{config.train} train, {config.reward} reward and {config.test} test images in {root}")


def check(target: str, assignments: list[str]) -> None:
    data = _experiment(target).data if ":" in target else DataConfig(root=target)
    if assignments:
        data = override(data, assignments)
    problems = check_data(data, full=True)
    for problem in problems:
        console.print(str(problem), markup=False, soft_wrap=True)
    errors = sum(problem.severity == "error" for problem in problems)
    console.print(f"{data.root}: {errors} errors, {len(problems) - errors} warnings")
    if errors:
        sys.exit(1)


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
        title="on the reward split, one training each; cost of the neck alone", title_justify="left", box=SIMPLE
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


def _cell_table(genotype: Genotype) -> Table:
    table = Table(title=f"inputs: nodes 0..{len(genotype.levels) - 1} = P{genotype.levels[0]}..P{genotype.levels[-1]}")
    for name in ("node", "level", "merge", "of nodes", "dangling adds", "transform", "output"):
        table.add_column(name)
    first = len(genotype.levels)
    for index, entry in enumerate(genotype.cells):
        table.add_row(
            str(first + index),
            f"P{entry.level}",
            entry.merge,
            " ".join(map(str, entry.inputs)),
            " ".join(map(str, genotype.dangling[index])),
            entry.transform,
            "yes" if genotype.outputs[entry.level] == first + index else "",
        )
    return table


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


def _open(run_dir: Path) -> tuple[RunDirectory, SearchConfig, list[Trial]]:
    run = RunDirectory(run_dir)
    run.require()
    return run, run.read_config(), Journal(run.journal_file).trials()


def _genotype(name: str) -> Genotype:
    if name in KNOWN:
        return known_genotype(name)
    path = Path(name)
    if path.is_dir():
        path = path / GENOTYPE_FILE
    if not path.is_file():
        raise UserError(f"{name!r} is neither a known neck ({', '.join(KNOWN)}) nor a genotype's JSON file")
    return Genotype.from_json(path.read_text())
