"""More seeds and more known necks for long trainings that were recorded and whose run directory is gone.

`nasfpn retrain RUN --seeds N` goes on from a run directory. This takes the necks, widths and results of its record,
`final.json`. A neck that would get another width today is trained anew with all its seeds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments import signs
from experiments.benchmarks.results import RESULTS
from nas.commands.retrain import train_and_compare
from nas.commands.trainings import STORE
from nas.comparison.check import longer
from nas.comparison.content import content_of
from nas.comparison.equal_cost import Contender, sized
from nas.comparison.final import final_jobs
from nas.comparison.necks import KNOWN_GROUP, NamedNeck
from nas.comparison.result_store import ResultStore
from nas.comparison.training_job import Result, TrainingJob
from nas.configuration import override
from search_space import KNOWN, Genotype, known_genotype

Record = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="signs_wide_final", help="of the record in experiments/results")
    parser.add_argument("--seeds", type=int, default=5, help="of each neck in the end")
    parser.add_argument("--add", nargs="*", default=[], help="known necks to train beside them, at equal multiply-adds")
    parser.add_argument("--out", type=Path, default=Path("runs/more_seeds"), help="directory of trainings and results")
    parser.add_argument("--set", action="append", default=[], help="settings of the recorded search")
    arguments = parser.parse_args()

    config = override(signs.wide(), arguments.set)
    record = json.loads((RESULTS / f"{arguments.name}.json").read_text())
    known = {entry["neck"]: entry for entry in record["standings"]}
    necks = [NamedNeck(label, entry["group"], _genotype(entry)) for label, entry in known.items()]
    more = [
        NamedNeck(name, KNOWN_GROUP, known_genotype(name) if name in KNOWN else name)
        for name in arguments.add
        if name not in known
    ]
    proxy = longer(config.proxy, record["steps"] / config.proxy.steps)
    entries = sized(config, [*necks, *more], goal_of=necks)
    jobs = final_jobs(config, proxy, entries, arguments.seeds, content_of(config))
    _restore(arguments.out / STORE, jobs, known)
    train_and_compare(config, jobs, record["chosen_from"], arguments.out, None)


def _genotype(entry: Record) -> Genotype:
    return Genotype.from_json(json.dumps(entry["genotype"]))


def _restore(path: Path, jobs: Mapping[Contender, Sequence[TrainingJob]], known: Mapping[str, Record]) -> None:
    """Write what was recorded as results of the same trainings."""
    store = ResultStore(path)
    with store.claim():
        for contender, own in jobs.items():
            if (entry := known.get(contender.neck.label)) is None:
                continue
            if entry["channels"] != contender.channels:
                print(f"{contender.neck.label}: {contender.channels} channels now, {entry['channels']} recorded")
                continue
            rest = {name: entry[name] for name in ("params", "latency_ms")}
            for job, ap in zip(own, entry["AP"], strict=False):
                if not store.metrics(job):
                    store.add(job, Result({"AP": ap, **rest}))


if __name__ == "__main__":
    main()
