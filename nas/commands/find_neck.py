"""Lookup of the neck that a command line names: a known one, a file, an export, or a trial of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nas.credentials import without_credentials
from nas.errors import UserError
from nas.export.sources import read_neck
from nas.results.confirmed import answer
from nas.results.labels import width_note
from nas.runs.journal import open_journal
from nas.runs.own_code import trusts_code
from nas.runs.places import fetched
from nas.runs.remote.exports import NECK_FILES, local_export
from nas.runs.remote.files import is_url
from nas.runs.remote.staging import CONFIG
from nas.runs.trial_names import chosen_trial, split_name
from nas.search.config import SearchConfig
from nas.search.records import Trial
from necks import NECKS, MergeNeck, Neck
from necks.exported import GENOTYPE_FILE, NECK_FILE, WEIGHTS_FILE, read_genotype
from search_space import Genotype
from search_space.files import is_there


@dataclass(frozen=True)
class Found:
    """
    Args:
        label: for people.
        topology: a known neck's name, or a genotype; None for an exported neck that is no merge graph.
        exported: the neck as it was exported, with its weights.
        config: of the search that a trial is of.
        trial: None for all but trials.
    """

    label: str
    topology: str | Genotype | None
    exported: Neck | None = None
    config: SearchConfig | None = None
    trial: Trial | None = None


def find_neck(name: str) -> Found:
    """
    Raises:
        UserError: if it is nothing that is known, with what may be given.
    """
    if name in NECKS:
        return Found(name, name)
    path, label = local_export(name, NECK_FILES), without_credentials(name)
    if is_there(path / NECK_FILE):
        neck = read_neck(path)
        return Found(label, neck.genotype if isinstance(neck, MergeNeck) else None, neck)
    if _is_topology(path) or (is_there(path) and not path.is_dir()):
        return Found(label, _read(path))
    place, number = split_name(name)
    if number is not None or is_url(name) or is_there(path / CONFIG):
        return _trial(place, number)
    raise UserError(
        f"{without_credentials(name)!r} is neither a known neck ({', '.join(NECKS)}) nor a genotype's JSON file nor an "
        "exported neck nor a search (RUN_DIR for the best found, RUN_DIR:NUMBER for a trial), nor a URL of these"
    )


def _is_topology(directory: Path) -> bool:
    """True for an export of a topology alone; one with weights needs its `neck.json`."""
    return is_there(directory / GENOTYPE_FILE) and not is_there(directory / WEIGHTS_FILE)


def _read(path: Path) -> Genotype:
    try:
        return read_genotype(path)
    except ValueError as error:
        raise UserError(str(error)) from error


def _trial(place: str, number: int | None) -> Found:
    with fetched(place) as run:
        config, trials = run.read_config(), open_journal(run).trials()
        trusts_code(run, config)
    trial = _chosen(place, config, trials, number)
    reward = "" if trial.reward is None else f", reward {config.reward.shown(trial.reward)}"
    return Found(
        f"trial {trial.number} of {without_credentials(place)} ({trial.candidate.origin}{width_note(trial)}{reward})",
        trial.candidate.genotype,
        config=config,
        trial=trial,
    )


def _chosen(place: str, config: SearchConfig, trials: list[Trial], number: int | None) -> Trial:
    if number is not None:
        return chosen_trial(trials, number, place)
    if (trial := answer(config, trials)) is None:
        place = without_credentials(place)
        raise UserError(f"{place} has no scored new neck yet; name a trial, such as {place}:0")
    return trial
