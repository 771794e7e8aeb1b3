"""All trials of a search as data: one JSON object per line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nas.atomic_write import atomic_write
from nas.plain_json import dumps
from nas.search.records import Trial

TRIALS_FILE = "trials.jsonl"


def write_trials(trials: Iterable[Trial], path: Path) -> None:
    """One line per trial: everything in its metrics (AP in percent, cost of the neck alone, `reward@STEP` at the
    rungs), its genotype as `Genotype.from_dict` takes it, and `channels` where its width is its own.
    """
    atomic_write(path, "".join(dumps(trial_record(trial)) + "\n" for trial in trials))


def trial_record(trial: Trial) -> dict[str, Any]:
    """A trial as plain data."""
    return {
        "number": trial.number,
        "origin": trial.candidate.origin,
        "state": trial.state,
        "reward": trial.reward,
        "order": trial.order,
        "copied_from": trial.copied_from,
        "rejected": list(trial.rejected),
        "error": trial.error,
        "channels": trial.candidate.channels,
        "fingerprint": trial.candidate.genotype.fingerprint,
        "metrics": dict(trial.metrics),
        "genotype": trial.candidate.genotype.to_dict(),
    }
