"""A trained neck of a search as a directory that needs nothing of the search."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nas.export.card import write_card
from nas.export.errors import ExportError
from nas.export.files import NECK_FILES, copy_files, prepared
from nas.export.formats import chosen, write_formats
from nas.export.sources import Source, neck_source
from nas.results.summary import describe
from nas.search.records import Trial
from nas.search.run_directory import RunDirectory
from nas.search.standings import best_found, scored
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
        number: of the trial; by default the best that the search or its random baseline found.
        formats: further ones, and `fold`: as `write_formats`.

    Raises:
        ExportError: if there is no such trial, or its weights were not kept, or `output` holds other things; and as
            `write_formats`.
    """
    trial = _choose(trials, number)
    chosen(formats)
    kept = run.trial(trial.number if trial.copied_from is None else trial.copied_from)
    if not (kept / WEIGHTS_FILE).is_file():
        others = ", ".join(str(t.number) for t in scored(trials) if (run.trial(t.number) / WEIGHTS_FILE).is_file())
        raise ExportError(
            f"the weights of trial {trial.number} were not kept (keep_weights); those of these trials were: {others}"
        )
    copy_files(NECK_FILES, kept, prepared(output))
    source = _described(neck_source(output), run, trial)
    write_card(source, write_formats(source, formats, output, fold=fold), output)
    return trial


def _choose(trials: Sequence[Trial], number: int | None) -> Trial:
    if number is None:
        found = best_found(trials)
        if found is None:
            raise ExportError("no new neck has been scored yet; see nasfpn status, or name a --trial")
        return found
    if not 0 <= number < len(trials) or trials[number].reward is None:
        raise ExportError(f"trial {number} was not scored; trials 0..{len(trials) - 1} exist, see nasfpn status")
    return trials[number]


def _described(source: Source, run: RunDirectory, trial: Trial) -> Source:
    record, config = run.read_record(), run.read_config()
    command = [Path(record["command"][0]).name, *record["command"][1:]] if record.get("command") else []
    facts = {
        "data": f"{config.data.root}, {config.proxy.image_size} px",
        "weights": "of the proxy task, a short training",
        **{f"{name}, proxy task": _number(value) for name, value in sorted(describe(trial)["metrics"].items())},
        "command": f"`{shlex.join(command)}`",
    }
    return replace(
        source, origin=f"Trial {trial.number} ({trial.candidate.origin}) of the search `{config.name}`", facts=facts
    )


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
