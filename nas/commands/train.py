"""`nasfpn train`: a detector in full."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from nas.commands.checked_data import check_command, require_good_data
from nas.commands.find_neck import find_neck
from nas.configuration import ConfigError, override
from nas.experiment import load_experiment
from nas.references import trust
from nas.runs.remote.files import is_url
from nas.runs.remote.staging import CONFIG
from nas.runs.trial_names import split_name
from nas.terminal import console, heading
from nas.tracking.trackers import Trackers, made, tracked
from nas.training.config import TrainConfig
from nas.training.directory import TrainingDirectory
from nas.training.run import History, run_training
from nas.training.trainer import Look
from necks import NECKS
from search_space.files import is_there

SHOWN = ("AP", "AP50", "AP75", "APs", "APm", "APl")


def train(
    experiment: str, run_dir: Path, assignments: list[str], address: str | None, track: Sequence[str] = ()
) -> None:
    config = load_experiment(experiment)
    if not isinstance(config, TrainConfig):
        raise ConfigError(
            f"{experiment} returns a {type(config).__name__}; nasfpn train takes a function that returns a TrainConfig"
        )
    if track:
        assignments = [*assignments, f"track={json.dumps([*config.track, *track])}"]
    config = _with_trial(override(config, assignments))
    trust([*config.track, config.neck.name])
    trackers = made(config.track)
    run = TrainingDirectory(run_dir)
    require_good_data(config.data, check_command(experiment, assignments))
    with run.claim(config):
        console.print(heading(config.name, f": {_what(config)}; everything goes to {run.path}"), soft_wrap=True)
        key = f"{config.name} {run.path}"
        if run.is_finished(config.epochs):
            done = f"{config.epochs} of {config.epochs}"
            console.print(f"the training has nothing left to train: {done} epochs are done", soft_wrap=True)
            _say_done(run, run.read_epochs())
            return
        with tracked(trackers, config, run.path, key) as told, _Shown(config, run, told) as shown:
            history = run_training(config, run, shown, address=address)
    _say_done(run, history)


def _say_done(run: TrainingDirectory, history: History) -> None:
    ap = f"AP {history[-1]['AP']:.1f}" if "AP" in history[-1] else "done"
    console.print(f"{ap} after {len(history)} epochs; the detector is in {run.model}", soft_wrap=True)


def _with_trial(config: TrainConfig) -> TrainConfig:
    """The best found neck of a search by its trial: another may be the best when the training goes on."""
    name = config.neck.name
    if name in NECKS or split_name(name)[1] is not None or not (is_url(name) or is_there(Path(name) / CONFIG)):
        return config
    found = find_neck(name)
    if found.trial is None:  # an export at a URL
        return config
    return replace(config, neck=replace(config.neck, name=f"{name}:{found.trial.number}"))


def _what(config: TrainConfig) -> str:
    neck = f"{config.neck.name} x {config.neck.repeats}, {config.neck.channels} channels"
    processes = config.resources.processes
    return (
        f"{config.backbone.name}, {neck}, {config.image_size} px, {config.epochs} epochs, batches of "
        f"{config.batch_size}, {processes} process{'es' if processes > 1 else ''}"
    )


class _Shown:
    """A bar on a terminal, and one line per new epoch anywhere; `epochs.jsonl`, and trackers."""

    def __init__(self, config: TrainConfig, run: TrainingDirectory, trackers: Trackers) -> None:
        self._config, self._run, self._trackers = config, run, trackers
        self._earlier = 0
        self._written: History = []
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=float(config.epochs))

    def __enter__(self) -> _Shown:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, look: Look | None, history: History) -> None:
        if history != self._written:
            if not self._written:
                self._say_where_it_goes_on(history)
            self._run.write_epochs(history)
            for entry in history[len(self._written) :]:
                self._epoch(entry)
            self._written = list(history)
        if look is not None and look.epoch >= len(history):
            done = look.epoch + look.step / look.steps
            ap = next((f"AP {entry['AP']:.1f}  " for entry in reversed(history) if "AP" in entry), "")
            text = f"epoch {look.epoch + 1}/{self._config.epochs}  loss {look.loss:.3f}  {ap}"
            self._bar.update(self._task, completed=done, description=text)

    def _say_where_it_goes_on(self, history: History) -> None:
        """
        Args:
            history: the first that is heard of, with the epochs of earlier starts.
        """
        pairs = zip(self._run.read_epochs(), history, strict=False)
        self._earlier = sum(1 for _ in takewhile(lambda pair: pair[0]["loss"] == pair[1]["loss"], pairs))
        if self._earlier:
            done, total = self._earlier, self._config.epochs
            what = f"goes on with epoch {done + 1}" if done < total else "has its epochs, and its detector is written"
            console.print(f"the training {what}: {done} of {total} epochs are done", soft_wrap=True)

    def _epoch(self, entry: dict[str, float]) -> None:
        if entry["epoch"] > self._earlier:
            self._print(entry)
        self._trackers.log(int(entry["epoch"]), entry)

    def _print(self, entry: dict[str, float]) -> None:
        number = int(entry["epoch"])
        parts = "  ".join(f"{name} {entry[name]:.1f}" for name in SHOWN if name in entry)
        line = f"[{number:3d}/{self._config.epochs}] loss {entry['loss']:.3f}  {entry['seconds']:.0f} s  {parts}"
        console.print(line, soft_wrap=True)
