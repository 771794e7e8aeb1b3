"""Reliability of the default run: how often it finds a neck that is truly better, and how often it says so.

For every seed: the search, as `nasfpn search` runs it, then the neck that it answers with and the best known neck, each
trained again with fresh seeds, at the same multiply-adds, and scored on the reward images and on the test images. A
search that was stopped goes on, and what was trained is kept in --out. With --as-observed the best necks are judged as
they were observed, as if nothing had been confirmed.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from experiments.benchmarks.results import write_result
from nas.commands.trainings import train
from nas.comparison.content import content_of
from nas.comparison.final import T_QUANTILES
from nas.comparison.training_job import TrainingJob
from nas.results.confirmed import verdict_of
from nas.results.labels import neck_name
from nas.runs.journal import open_journal
from nas.runs.run_directory import RunDirectory
from nas.search.config import SearchConfig, data_of
from nas.search.confirmation import Verdict
from nas.search.records import Trial
from nas.search.standings import best, best_found, known_necks

FRESH = 1_000_000_000
"""First of the fresh seeds; those of a search's trials are smaller."""

WANTED_GAIN = 0.5

Split = Literal["reward", "test"]
SPLITS: tuple[Split, ...] = ("reward", "test")


@dataclass(frozen=True)
class Claim:
    """The confirmation's own words on its answer; `made` is whether it says that the neck is better."""

    made: bool
    probability: float
    gain: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.gain:+.1f} ({self.low:+.1f} .. {self.high:+.1f}) | {self.probability:.0%}"


@dataclass(frozen=True)
class Judged:
    """A search and its answer.

    Args:
        minutes: of the search alone; None where it was stopped in between.
        claim: None for necks as they were observed.
        found, known: AP with fresh seeds, by split.
        torch: version of PyTorch that the search began with.
    """

    seed: int
    winner: str
    known_neck: str
    minutes: float | None
    claim: Claim | None
    found: dict[Split, list[float]]
    known: dict[Split, list[float]]
    genotype: str
    torch: str

    def fresh_gain(self, split: Split) -> float:
        return statistics.mean(self.found[split]) - statistics.mean(self.known[split])

    def fresh_margin(self, split: Split) -> float:
        """Half the 95 % interval of `fresh_gain`, with one deviation from seed to seed for both necks."""
        groups = (self.found[split], self.known[split])
        freedom = sum(len(group) - 1 for group in groups)
        variance = sum(statistics.variance(group) * (len(group) - 1) for group in groups) / freedom
        quantile = T_QUANTILES[min(freedom, len(T_QUANTILES)) - 1]
        return quantile * math.sqrt(variance * sum(1 / len(group) for group in groups))

    @property
    def is_better(self) -> bool:
        return self.fresh_gain("reward") > WANTED_GAIN

    @property
    def is_refuted(self) -> bool:
        """True if a claim was made, and the intervals of the claim and of the fresh seeds do not meet."""
        if self.claim is None or not self.claim.made:
            return False
        gain, margin = self.fresh_gain("reward"), self.fresh_margin("reward")
        return gain + margin < self.claim.low or gain - margin > self.claim.high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiment", default="experiments.signs:search")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)), help="of the searches")
    parser.add_argument("--fresh", type=int, default=4, help="trainings that judge each neck")
    parser.add_argument("--as-observed", action="store_true", help="judge the best observed, not the confirmed answer")
    parser.add_argument("--set", action="append", default=[], help="settings of the search")
    parser.add_argument("--out", type=Path, default=Path("runs/default_run"))
    parser.add_argument("--name", default="default_run", help="of the result")
    arguments = parser.parse_args()

    judged = []
    for seed in arguments.seeds:
        settings = [*arguments.set, f"seed={seed}"]
        run = searched(arguments.experiment, settings, arguments.out / f"seed_{seed}")
        judged.append(judge(run, arguments.fresh, arguments.out, as_observed=arguments.as_observed))
        write_result(
            arguments.name,
            f"Does `{arguments.experiment}` find a better neck?",
            report(judged),
            [asdict(row) for row in judged],
        )


def searched(experiment: str, settings: Sequence[str], directory: Path) -> RunDirectory:
    """The run directory of a finished search; beside it, how many minutes it took where nothing stopped it."""
    words = [word for setting in settings for word in ("--set", setting)]
    command = [str(Path(sys.executable).with_name("nasfpn")), "search", experiment, "--run-dir", str(directory), *words]
    if not (directory / "best").exists():
        is_new = not directory.exists()
        start = time.monotonic()
        subprocess.run(command, check=True)
        if is_new:
            _minutes_file(directory).write_text(json.dumps((time.monotonic() - start) / 60))
    return RunDirectory(directory)


def _minutes_file(directory: Path) -> Path:
    return directory.with_suffix(".minutes.json")


def judge(run: RunDirectory, fresh: int, out: Path, *, as_observed: bool) -> Judged:
    config, trials = run.read_config(), open_journal(run).trials()
    verdict = None if as_observed else verdict_of(config, trials)
    found, known = (
        (best_found(trials), best(known_necks(trials)))
        if verdict is None
        else (verdict.best_found.trial, verdict.best_known.trial)
    )
    if found is None or known is None or (verdict is None and not as_observed):
        raise SystemExit(f"{run.path} has no answer yet")
    content = content_of(config)
    jobs = {
        (name, split): _jobs(config, trial, split, fresh, content)
        for name, trial in (("found", found), ("known", known))
        for split in SPLITS
    }
    store = train([job for own in jobs.values() for job in own], config.resources, out, None)
    aps = {key: [float(store.metrics(job)["AP"]) for job in own] for key, own in jobs.items()}
    minutes = _minutes_file(run.path)
    return Judged(
        seed=config.seed,
        winner=neck_name(config, found),
        known_neck=neck_name(config, known),
        minutes=json.loads(minutes.read_text()) if minutes.exists() else None,
        claim=None if verdict is None else _claim(verdict),
        found={split: aps["found", split] for split in SPLITS},
        known={split: aps["known", split] for split in SPLITS},
        genotype=found.candidate.genotype.to_json(indent=None),
        torch=str(json.loads(run.config_file.read_text())["environment"]["torch"]),
    )


def _claim(verdict: Verdict) -> Claim:
    return Claim(verdict.is_better, verdict.probability, verdict.gain, verdict.gain_low, verdict.gain_high)


def _jobs(config: SearchConfig, trial: Trial, split: Split, fresh: int, content: str) -> list[TrainingJob]:
    channels = trial.candidate.channels or config.proxy.neck.channels
    proxy = replace(config.proxy, neck=replace(config.proxy.neck, channels=channels))
    genotype = trial.candidate.genotype
    label = neck_name(config, trial)
    return [
        TrainingJob(label, "", genotype, proxy, data_of(config), FRESH + seed, content, split) for seed in range(fresh)
    ]


def report(judged: Sequence[Judged]) -> str:
    lines = [
        "| seed | minutes | winner | best known | confirmed gain, 95 % interval | P(better) | fresh seeds: gain | "
        "on the test images |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.seed} | {'-' if row.minutes is None else f'{row.minutes:.1f}'} | {row.winner} | {row.known_neck} | "
        f"{row.claim or '- | -'} | "
        + " | ".join(f"{row.fresh_gain(split):+.1f} ± {row.fresh_margin(split):.1f}" for split in SPLITS)
        + " |"
        for row in judged
    ]
    better = sum(row.is_better for row in judged)
    claims = [row for row in judged if row.claim is not None and row.claim.made]
    lines += [
        "",
        f"Better by more than {WANTED_GAIN} AP by fresh seeds, whether the search claims it or not: {better} of "
        f"{len(judged)}. Claimed as better: {len(claims)}, of which the fresh seeds refute "
        f"{sum(row.is_refuted for row in claims)} (the intervals do not meet).",
        "",
        f"PyTorch of each search, by seed: {', '.join(f'{row.seed}: {row.torch}' for row in judged)}.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
