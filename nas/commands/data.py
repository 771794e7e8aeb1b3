"""Commands on data sets."""

from __future__ import annotations

import sys
from pathlib import Path

from nas.configuration import override
from nas.data.check import check_data
from nas.data.config import DataConfig, DataError, SignsConfig
from nas.data.signs import make_signs
from nas.search.config import load_search
from nas.terminal import console


def make_data(name: str, root: Path, assignments: list[str]) -> None:
    if name != "signs":
        raise DataError(f"no embedded data set {name!r}; there is: signs")
    config = override(SignsConfig(), assignments)
    make_signs(root, config)
    console.print(f"{config.train} train, {config.reward} reward and {config.test} test images in {root}")


def check(target: str, assignments: list[str]) -> None:
    data = load_search(target).data if ":" in target else DataConfig(root=target)
    if assignments:
        data = override(data, assignments)
    problems = check_data(data, full=True)
    for problem in problems:
        console.print(str(problem), soft_wrap=True)
    errors = sum(problem.severity == "error" for problem in problems)
    console.print(f"{data.root}: errors: {errors}, warnings: {len(problems) - errors}")
    if errors:
        sys.exit(1)
