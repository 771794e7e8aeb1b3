"""Make the tabular benchmark out of a search: every trial with its rewards at all rungs and its cost, in one file.

python -m experiments.benchmarks.tabular runs/wide
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections import Counter
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau
from sklearn.model_selection import cross_val_predict

from experiments.benchmarks.recorded import TABLE, Row, measured, model, read_table, table_features
from experiments.benchmarks.results import write_result
from nas.results.trials import trial_record
from nas.runs.journal import open_journal
from nas.runs.run_directory import RunDirectory

FOLDS = 10


def write_table(run: RunDirectory, path: Path) -> None:
    """Trials that were measured; rejected, failed and unfinished ones are left out. No time in the file, so that the
    same trials give the same bytes."""
    rows = [trial_record(trial) for trial in open_journal(run).trials() if trial.reward is not None]
    with path.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows).encode())


def counts_table(rows: list[Row]) -> str:
    counts = Counter((row["origin"].partition(":")[0], row["state"]) for row in rows)
    lines = ["| origin | to the end | stopped at a rung | best reward |", "|---|---|---|---|"]
    for origin in dict.fromkeys(name for name, _ in counts):
        rewards = [row["reward"] for row in rows if row["origin"].startswith(origin) and row["state"] == "complete"]
        lines.append(f"| {origin} | {counts[origin, 'complete']} | {counts[origin, 'stopped']} | {max(rewards):.1f} |")
    return "\n".join(lines)


def rung_lines(rows: list[Row]) -> str:
    """How the rungs rank what was trained to the end."""
    lines = []
    for rung in sorted({name for row in rows for name in row["metrics"] if name.startswith("reward@")}):
        pairs = [
            (row["metrics"][rung], row["reward"])
            for row in rows
            if row["state"] == "complete" and rung in row["metrics"]
        ]
        tau = kendalltau(*zip(*pairs, strict=True)).statistic
        lines.append(f"* `{rung}` of {len(pairs)} trials that went to the end: Kendall's tau {tau:.2f} with the end")
    return "\n".join(lines)


def fit_line(rows: list[Row]) -> str:
    """How well the regression predicts rewards that it has not seen."""
    data = measured(rows)
    predicted = cross_val_predict(model(), table_features(data.genotypes), data.rewards, cv=FOLDS)
    residual = data.rewards - predicted
    explained = 1 - residual.var() / data.rewards.var()
    tau = kendalltau(predicted, data.rewards).statistic
    return (
        f"{len(data.rewards)} different functions; {FOLDS}-fold cross-validation of the regression: R2 "
        f"{explained:.2f}, Kendall's tau {tau:.2f}, median error {100 * float(np.median(np.abs(residual))):.1f} AP."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="directory of a search with the space of experiments.signs:wide")
    arguments = parser.parse_args()
    run = RunDirectory(arguments.run)
    run.require()
    write_table(run, TABLE)
    rows = read_table()
    body = (
        f"`{TABLE.name}` has one JSON object per trial of `{run.read_config().name}`: genotype, reward, all metrics "
        "(`reward@STEP` at the rungs, cost of the neck, seconds).\n\n"
        f"{counts_table(rows)}\n\n{rung_lines(rows)}\n\n"
        f"The problem `recorded` of `python -m experiments.benchmarks.controllers` is made of it. {fit_line(rows)}"
    )
    print(write_result("signs_wide_trials", "A tabular benchmark of recorded trials", body, {"trials": len(rows)}))


if __name__ == "__main__":
    main()
