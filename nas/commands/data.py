"""Commands on data sets."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

from nas.commands.checked_data import find_problems
from nas.configuration import ConfigError, override
from nas.data.config import DataConfig, DataError, SignsConfig
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
        raise DataError(f"no embedded data set {name!r}; there is: signs")
    config = override(SignsConfig(), assignments)
    make_signs(root, config)
    console.print(f"{config.train} train, {config.reward} reward and {config.test} test images in {root}")


def check(target: str, assignments: list[str]) -> None:
    data = _data_of(target)
    if assignments:
        data = override(data, assignments)
    problems = find_problems(data, anew=True)
    for problem in problems:
        console.print(str(problem), soft_wrap=True)
    errors = sum(problem.severity == "error" for problem in problems)
    console.print(f"{data.root}: errors: {errors}, warnings: {len(problems) - errors}")
    if errors:
        sys.exit(1)


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
