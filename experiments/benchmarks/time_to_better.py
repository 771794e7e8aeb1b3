"""Time until the best observed neck of a search is truly better than BiFPN, for any number of searches.

Takes the trials that `nasfpn report` writes (`report/trials.jsonl`), of this version or another. Every candidate of the
controller that was the best when it was observed is trained again with fresh seeds, beside BiFPN, under the proxy task
of `experiments.signs:search`. The first whose mean is more than half an AP above BiFPN's ends the time, in training
steps and in seconds of the controller's own candidates. What was trained is kept in --out.
"""

from __future__ import annotations

import argparse
import gzip
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from experiments.benchmarks.default_run import FRESH, WANTED_GAIN
from experiments.benchmarks.results import write_result
from experiments.signs import search
from nas.commands.trainings import train
from nas.comparison.content import content_of
from nas.comparison.training_job import TrainingJob
from nas.search.config import data_of
from nas.search.records import SEARCH
from search_space import KNOWN, Genotype, known_genotype
from search_space.files import parse_json

RIVAL = "bifpn"
MARGIN = 1.0
"""An incumbent that was observed so far below the rival's mean is not better than it, and not trained again."""


@dataclass(frozen=True)
class Incumbent:
    """A candidate that was the best when it was observed.

    Args:
        trials, steps, seconds: of the controller's candidates until then, itself included.
    """

    trial: int
    genotype: str
    observed: float
    trials: int
    steps: int
    seconds: float


@dataclass(frozen=True)
class Course:
    """A search: its incumbents and what they are truly worth.

    Args:
        gains: of the means of fresh trainings over the rival's, by incumbent.
    """

    name: str
    incumbents: list[Incumbent]
    gains: list[float]

    @property
    def first_better(self) -> Incumbent | None:
        pairs = zip(self.incumbents, self.gains, strict=True)
        return next((incumbent for incumbent, gain in pairs if gain > WANTED_GAIN), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("searches", nargs="+", metavar="NAME=FILE", help="trials of a search, perhaps gzipped")
    parser.add_argument("--fresh", type=int, default=4, help="trainings of each incumbent; BiFPN has twice as many")
    parser.add_argument("--out", type=Path, default=Path("runs/time_to_better"))
    arguments = parser.parse_args()

    files = {name: Path(file) for name, _, file in (word.partition("=") for word in arguments.searches)}
    (rival,) = _means([(RIVAL, known_genotype(RIVAL))], 2 * arguments.fresh, arguments.out)
    courses = []
    for name, file in files.items():
        own = [one for one in incumbents(rows(file)) if one.observed > rival - MARGIN]
        necks = [(f"{name}, trial {one.trial}", Genotype.from_json(one.genotype)) for one in own]
        means = _means(necks, arguments.fresh, arguments.out)
        courses.append(Course(name, own, [mean - rival for mean in means]))
    title = "How soon is a search truly better than BiFPN?"
    write_result("time_to_better", title, report(courses), [asdict(course) for course in courses])


def _means(necks: Sequence[tuple[str, Genotype]], seeds: int, out: Path) -> list[float]:
    """Mean AP of each with fresh seeds."""
    config = search()
    content = content_of(config)
    jobs = [
        [
            TrainingJob(label, "", genotype, config.proxy, data_of(config), FRESH + seed, content)
            for seed in range(seeds)
        ]
        for label, genotype in necks
    ]
    store = train([job for own in jobs for job in own], config.resources, out, None)
    return [statistics.mean(float(store.metrics(job)["AP"]) for job in own) for own in jobs]


def rows(path: Path) -> list[dict[str, Any]]:
    """The controller's trials that took steps, in the order in which they finished."""
    read = gzip.open if path.suffix == ".gz" else open
    with read(path, "rt") as file:
        trials = [parse_json(line.encode(), str(path)) for line in file]
    own = [t for t in trials if t["origin"] == SEARCH and t["order"] is not None and t["copied_from"] is None]
    return sorted((trial for trial in own if trial["reward"] is not None), key=lambda trial: trial["order"])


def incumbents(trials: Sequence[dict[str, Any]]) -> Iterator[Incumbent]:
    known = {known_genotype(name).fingerprint for name in KNOWN}
    best, steps, seconds = float("-inf"), 0, 0.0
    for count, trial in enumerate(trials, start=1):
        steps += steps_of(trial)
        seconds += trial["metrics"]["seconds"]
        if trial["state"] == "complete" and trial["reward"] > best and trial["fingerprint"] not in known:
            best = trial["reward"]
            genotype = Genotype.from_dict(trial["genotype"]).to_json(indent=None)
            yield Incumbent(trial["number"], genotype, best, count, steps, seconds)


def steps_of(trial: dict[str, Any]) -> int:
    """Of its training; older versions tell them by the rungs that a trial was scored at."""
    if "steps" in trial["metrics"]:
        return int(trial["metrics"]["steps"])
    rungs = [int(name.removeprefix("reward@")) for name in trial["metrics"] if name.startswith("reward@")]
    return search().proxy.steps if trial["state"] == "complete" else max(rungs)


def report(courses: Sequence[Course]) -> str:
    lines = [
        f"First candidate that was the best observed and is better than {RIVAL} by more than {WANTED_GAIN} AP with "
        "fresh seeds; trials, training steps and seconds are those of the controller's candidates until then.",
        "",
        "| search | trials | steps | seconds | true gain | of the last incumbent |",
        "|---|---|---|---|---|---|",
    ]
    for course in courses:
        first = course.first_better
        cells = ["never", "-", "-", "-"]
        if first is not None:
            gain = course.gains[course.incumbents.index(first)]
            cells = [str(first.trials), f"{first.steps:,}", f"{first.seconds:,.0f}", f"{gain:+.1f}"]
        lines.append(
            f"| {course.name} | {' | '.join(cells)} | {course.gains[-1]:+.1f} | {course.incumbents[-1].trials} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
