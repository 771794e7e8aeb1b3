"""A trained neck of a search as a directory that needs nothing of the search."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nas.credentials import without_credentials
from nas.export.card import write_card, write_topology
from nas.export.errors import ExportError
from nas.export.files import prepared, written_to
from nas.export.formats import chosen, write_formats
from nas.export.markdown import code, escaped
from nas.export.sources import Source, neck_source, save_plain
from nas.results.confirmed import answer, best_training, conclusion, observation, verdict_of
from nas.results.labels import width_note
from nas.runs.run_directory import RunDirectory
from nas.search.config import SearchConfig
from nas.search.records import Trial
from nas.search.standings import scored
from necks import MergeNeck
from necks.exported import WEIGHTS_FILE

__all__ = ["ExportError", "export"]


def export(
    run: RunDirectory,
    trials: Sequence[Trial],
    output: Path,
    number: int | None = None,
    formats: Sequence[str] = (),
    *,
    fold: bool = False,
) -> Trial:
    """Write a trial's trained neck to `output`: genotype, arguments, weights, a picture and a model card.

    Args:
        number: of the trial; by default the best neck found, as confirmed if it was, with the weights of the best
            training that confirmed it.
        formats: further ones, and `fold`: as `write_formats`.

    Raises:
        ExportError: if there is no such trial, or its weights were not kept or are damaged, or `output` holds other
            things; and as `write_formats`.
    """
    config = run.read_config()
    trial = _choose(config, trials, number)
    chosen(formats)
    training = best_training(trials, trial) if number is None else trial
    kept = run.trial(training.number if training.copied_from is None else training.copied_from)
    claim = _claim(config, trials, trial)
    if not (kept / WEIGHTS_FILE).is_file():
        if config.task.is_proxy or _any_kept(run, trials):
            raise ExportError(_lost(run, trials, trial))
        _write_topology(run, training, claim, output, formats)
        return trial
    source = _described(_trained(kept, trial), run, training, claim)
    prepared(output)
    with written_to(output):
        save_plain(source, output)
        write_card(source, write_formats(source, formats, output, fold=fold), output)
    return trial


def has_weights(directory: Path) -> bool:
    """False for an export of a topology alone, whose task gave no neck."""
    return (directory / WEIGHTS_FILE).is_file()


def _any_kept(run: RunDirectory, trials: Sequence[Trial]) -> list[int]:
    return [trial.number for trial in scored(trials) if has_weights(run.trial(trial.number))]


def _lost(run: RunDirectory, trials: Sequence[Trial], trial: Trial) -> str:
    others = ", ".join(map(str, _any_kept(run, trials)))
    return (
        f"the weights of trial {trial.number} were not kept (keep_weights); those of these trials were: {others}; "
        f"to train its topology: nasfpn train EXPERIMENT --neck RUN_DIR:{trial.number} --run-dir DIR"
    )


def _write_topology(run: RunDirectory, trial: Trial, claim: str, output: Path, formats: Sequence[str]) -> None:
    """
    Raises:
        ExportError: for formats, which are of weights.
    """
    if formats:
        raise ExportError(
            f"the task of this search returned no necks, so trial {trial.number} has no weights to write as "
            f"{', '.join(formats)}; return Trained(metrics, neck) from the task, or leave out --format"
        )
    prepared(output)
    with written_to(output):
        write_topology(trial.candidate.genotype, *_origin_and_facts(run, trial, claim), output)


def _trained(kept: Path, trial: Trial) -> Source:
    """
    Raises:
        ExportError: if the files are damaged, or those of another genotype than the journal's.
    """
    source = neck_source(kept)
    if isinstance(source.neck, MergeNeck) and source.neck.genotype != trial.candidate.genotype:
        raise ExportError(f"{kept} holds another neck than trial {trial.number} of the journal; it was changed")
    return source


def _claim(config: SearchConfig, trials: Sequence[Trial], trial: Trial) -> str:
    """Claim about a neck beside the known ones, for its model card."""
    verdict = verdict_of(config, trials)
    if verdict is None or verdict.best_found.trial != trial:
        observed = "" if trial.candidate.is_known else observation(config, trials, trial)
        return "; ".join(filter(None, ("not confirmed: one training, chosen among many", observed)))
    return conclusion(config, verdict)


def _choose(config: SearchConfig, trials: Sequence[Trial], number: int | None) -> Trial:
    if number is None:
        found = answer(config, trials)
        if found is None:
            raise ExportError("no new neck has been scored yet; see nasfpn status, or name a --trial")
        return found
    if not 0 <= number < len(trials) or trials[number].reward is None:
        raise ExportError(f"trial {number} was not scored; trials 0..{len(trials) - 1} exist, see nasfpn status")
    return trials[number]


def _described(source: Source, run: RunDirectory, trial: Trial, claim: str) -> Source:
    origin, facts = _origin_and_facts(run, trial, claim)
    return replace(source, origin=origin, facts=facts)


def _origin_and_facts(run: RunDirectory, trial: Trial, claim: str) -> tuple[str, dict[str, str]]:
    record, config = run.read_record(), run.read_config()
    commands = [record["command"], *record["later_commands"]]
    facts = {
        "data": escaped(_data(config)),
        "weights": _trained_by(config),
        "beside the known necks": escaped(claim),
        **{f"{escaped(name)}, proxy task": _number(value) for name, value in sorted(trial.metrics.items())},
        "command": ", then ".join(code(_line(words)) for words in commands if words),
    }
    neck = escaped(trial.candidate.origin + width_note(trial))
    return f"Trial {trial.number} ({neck}) of the search {code(config.name)}", facts


def _data(config: SearchConfig) -> str:
    return "of its task" if config.data is None else f"{config.data.root}, {config.proxy.image_size} px"


def _trained_by(config: SearchConfig) -> str:
    return "of the proxy task, a short training" if config.task.is_proxy else f"of the task {code(config.task.name)}"


def _line(words: Sequence[str]) -> str:
    """A command as for a shell, the program without its directory."""
    return shlex.join(map(without_credentials, [Path(words[0]).name, *words[1:]]))


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
