"""Commands on data sets."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path

from rich.progress import Progress

from nas.commands.checked_data import check_command, find_problems
from nas.configuration import ConfigError, override
from nas.data.config import DataConfig, DataError, SignsConfig, SplitConfig
from nas.data.formats.convert import convert_data
from nas.data.signs import make_signs
from nas.errors import UserError
from nas.experiment import load_experiment
from nas.runs.places import fetched
from nas.runs.remote.files import is_url
from nas.runs.run_directory import RunDirectory
from nas.search.config import SearchConfig, data_of
from nas.terminal import console
from nas.training.config import TrainConfig
from nas.training.directory import TrainingDirectory


def make_data(name: str, root: Path, assignments: list[str]) -> None:
    if name != "signs":
        raise DataError(f"unknown embedded data set {name!r}; available: signs")
    config = override(SignsConfig(), assignments)
    make_signs(root, config)
    console.print(f"{config.train} train, {config.reward} reward and {config.test} test images in {root}")


def convert(name: str, source: Path, output: Path) -> None:
    """Write a data set of another format in COCO's, and check what was written; exit status 1 if that has errors."""
    bar = Progress(*Progress.get_default_columns(), console=console, transient=True, disable=not console.is_terminal)
    with bar:
        task = bar.add_task("reading labels", total=None)
        data = convert_data(name, source, output, lambda done, every: bar.update(task, completed=done, total=every))
    left_out = [f"{role}=null" for role in ("reward", "test") if getattr(data, role) is None]
    assignments = [*left_out, *([f"holdout={data.holdout}"] if data.holdout else [])]
    for role in ("train", "reward", "test"):
        split: SplitConfig | None = getattr(data, role)
        if split is not None:
            content = json.loads((output / split.annotations).read_text(encoding="utf-8"))
            console.print(f"{role}: {len(content['images'])} images, {len(content['annotations'])} boxes")
    errors = _print_problems(data)
    console.print(f"in a configuration: {_as_code(data)}", soft_wrap=True)
    console.print(
        f"to check it again: {check_command(str(output), [f'data.{one}' for one in assignments])}", soft_wrap=True
    )
    if errors:
        sys.exit(1)


def _as_code(data: DataConfig) -> str:
    more = "".join(f", {role}=None" for role in ("reward", "test") if getattr(data, role) is None)
    held_out = f", holdout={data.holdout}" if data.holdout else ""
    return f"DataConfig(root={data.root!r}{more}{held_out})"


def check(target: str, assignments: list[str]) -> None:
    data = _data_of(target)
    if assignments:
        data = override(data, assignments)
    if _print_problems(data):
        sys.exit(1)


def _print_problems(data: DataConfig) -> int:
    """Number of errors among them."""
    problems = find_problems(data, anew=True)
    for problem in problems:
        console.print(str(problem), soft_wrap=True)
    errors = sum(problem.severity == "error" for problem in problems)
    console.print(f"{data.root}: errors: {errors}, warnings: {len(problems) - errors}")
    return errors


def _data_of(target: str) -> DataConfig:
    """The data of an experiment, a run directory or a directory in the usual layout."""
    if is_url(target):
        with fetched(target) as run:
            return data_of(run.read_config())
    if ":" in target:
        config = load_experiment(target)
        if not isinstance(config, SearchConfig | TrainConfig):
            raise ConfigError(
                f"{target} must return a SearchConfig or TrainConfig, it returned {type(config).__name__}"
            )
        return data_of(config) if isinstance(config, SearchConfig) else config.data
    for place in (RunDirectory(target), TrainingDirectory(Path(target))):
        if place.config_file.is_file():
            with suppress(UserError):
                found = place.read_config()
                return data_of(found) if isinstance(found, SearchConfig) else found.data
    return DataConfig(root=target)
