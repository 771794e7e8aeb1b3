"""`nasfpn export`: a trial of a run, an exported neck or a saved detector, in the formats asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nas.credentials import without_credentials
from nas.errors import UserError
from nas.export.card import write_card
from nas.export.files import prepared, written_to
from nas.export.formats import chosen, write_formats
from nas.export.sources import detector_source, is_detector, is_exported_neck, neck_source, save_plain
from nas.results.export import export
from nas.runs.journal import open_journal
from nas.runs.own_code import trusts_code
from nas.runs.places import fetched
from nas.runs.remote.exports import DETECTOR_FILES, NECK_FILES, local_export
from nas.runs.remote.files import is_url
from nas.runs.trial_names import named_trial
from nas.terminal import console


def export_anything(place: str, output: Path, trial: int | None, formats: Sequence[str], *, fold: bool) -> None:
    """Write the plain files, the formats and a model card.

    Args:
        place: of a search, a trial of one, an exported neck or a saved detector, or the URL of one of these.
    """
    chosen(formats)
    if fold and not formats:
        raise UserError("--fold needs a format to fold batch norms in; name one with --format")
    directory = local_export(place, (*NECK_FILES, *DETECTOR_FILES))
    if is_exported_neck(directory) or is_detector(directory):
        if trial is not None:
            raise UserError(f"{without_credentials(place)} is a single model, not a search; leave out --trial")
        name = without_credentials(place) if is_url(place) else directory.name
        _export_directory(directory, name, output, formats, fold=fold)
    else:
        run_dir, number = named_trial(place, trial)
        _export_trial(run_dir, output, number, formats, fold=fold)


def _export_trial(place: str, output: Path, number: int | None, formats: Sequence[str], *, fold: bool) -> None:
    with fetched(place, "trials") as run:
        config = run.read_config()
        trusts_code(run, config)
        trial = export(run, open_journal(run).trials(), output, number, formats, fold=fold)
    console.print(
        f"trial {trial.number} ({config.reward.name} {config.reward.shown(trial.reward or 0.0)}) exported to {output}"
    )


def _export_directory(directory: Path, name: str, output: Path, formats: Sequence[str], *, fold: bool) -> None:
    if output.resolve() == directory.resolve():
        raise UserError(f"{output} is the source of the export; give --output another directory")
    source = detector_source(directory, name) if is_detector(directory) else neck_source(directory, name)
    prepared(output)
    with written_to(output):
        save_plain(source, output)
        written = write_formats(source, formats, output, fold=fold)
        write_card(source, written, output)
    for file in written:
        if file.difference is not None:
            console.print(f"{file.path.name}: equal to the trained module within {file.difference:.0e}")
    console.print(f"exported to {output}")
