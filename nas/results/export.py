"""A trained neck of a search as a directory that needs nothing of the search."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from nas.errors import UserError
from nas.results import pictures
from nas.results.summary import best_found, describe, scored
from nas.search.records import Trial
from nas.search.run_directory import RunDirectory
from necks import load_exported
from necks.exported import GENOTYPE_FILE, NECK_FILE, WEIGHTS_FILE
from search_space import Genotype


class ExportError(UserError):
    """A neck that cannot be exported; the message says why and what can be."""


def export(run: RunDirectory, trials: Sequence[Trial], output: Path, number: int | None = None) -> Trial:
    """Write a trial's trained neck to `output`: genotype, arguments, weights, a picture and a README.

    Args:
        number: of the trial; by default the best that the search or its random baseline found.

    Raises:
        ExportError: if there is no such trial, or its weights were not kept, or `output` holds other things.
    """
    trial = _choose(trials, number)
    source = run.trial(trial.number if trial.copied_from is None else trial.copied_from)
    if not (source / WEIGHTS_FILE).is_file():
        kept = ", ".join(str(t.number) for t in scored(trials) if (run.trial(t.number) / WEIGHTS_FILE).is_file())
        raise ExportError(
            f"the weights of trial {trial.number} were not kept (keep_weights); those of these trials were: {kept}"
        )
    names = {GENOTYPE_FILE, NECK_FILE, WEIGHTS_FILE, "README.md", "architecture.svg"}
    if output.exists() and (not output.is_dir() or {entry.name for entry in output.iterdir()} - names):
        raise ExportError(f"{output} holds other things; give --output a new or empty directory")
    output.mkdir(parents=True, exist_ok=True)
    for name in (GENOTYPE_FILE, NECK_FILE, WEIGHTS_FILE):
        shutil.copyfile(source / name, output / name)
    pictures.architecture(trial.candidate.genotype).savefig(output / "architecture.svg", metadata={"Date": None})
    (output / "README.md").write_text(_readme(run, trial, output))
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


def _readme(run: RunDirectory, trial: Trial, output: Path) -> str:
    neck = load_exported(output)
    result = describe(trial)
    metrics = "\n".join(f"| {name} | {_number(value)} |" for name, value in sorted(result["metrics"].items()))
    return f"""# A feature-pyramid neck found by nas-fpn

Trial {trial.number} ({trial.candidate.origin}) of the search `{run.read_config().name}`,
fingerprint `{result["fingerprint"]}`. Takes maps of levels {list(neck.in_levels)} with {list(neck.in_channels)}
channels, gives levels {list(neck.out_levels)} with {neck.out_channels} channels.

```python
import necks

neck = necks.load_exported("{output.name}")  # torch.nn.Module, evaluation mode, weights of the proxy task
pyramid = neck({{"c3": c3, "c4": c4, "c5": c5}})  # ordered dict in, ordered dict p3.. out, fine to coarse
```

The same topology for another backbone, with fresh weights:

```python
from pathlib import Path
from search_space import Genotype

genotype = Genotype.from_json(Path("{output.name}/{GENOTYPE_FILE}").read_text())
neck = necks.build_neck(genotype, in_channels=[512, 1024, 2048], out_channels=256, repeats=7)
```

![architecture](architecture.svg)

{_cells(trial.candidate.genotype)}

| proxy task | |
|---|---|
{metrics}
"""


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def _cells(genotype: Genotype) -> str:
    first = len(genotype.levels)
    lines = ["| node | level | merge | of nodes | dangling adds |", "|---|---|---|---|---|"]
    for index, cell in enumerate(genotype.cells):
        extra = ", ".join(map(str, genotype.dangling[index])) or "-"
        lines.append(
            f"| {first + index} | P{cell.level} | {cell.merge} | {', '.join(map(str, cell.inputs))} | {extra} |"
        )
    return "\n".join(lines)
