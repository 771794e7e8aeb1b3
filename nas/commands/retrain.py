"""`nasfpn retrain`: the best necks of a search in full, beside known and random ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.commands.find_neck import find_neck
from nas.commands.trainings import make_table, train, write_record
from nas.comparison.check import longer
from nas.comparison.equal_cost import Contender, sized
from nas.comparison.final import (
    FOUND_GROUP,
    MACS_TOLERANCE,
    Standing,
    contenders,
    counts,
    final_jobs,
    off_goal,
    standings,
)
from nas.comparison.necks import KNOWN_GROUP, RANDOM_GROUP, NamedNeck
from nas.comparison.training_job import TrainingJob, plain_topology
from nas.configuration import ConfigError, override
from nas.data.config import DataError
from nas.runs.journal import open_journal
from nas.runs.own_code import require_trusted_code
from nas.runs.places import opened, shown
from nas.search.config import SearchConfig, data_of
from nas.terminal import console
from search_space import KNOWN, Genotype, GenotypeError, known_genotype


def retrain(
    run_dir: str,
    top: int,
    seeds: int,
    times: float,
    same_width: bool,
    names: Sequence[str],
    workers: int | None,
    address: str | None,
) -> None:
    if min(top, seeds) < 1 or times <= 0:
        raise ConfigError(f"--top, --seeds and --longer must be positive, got {top}, {seeds} and {times:g}")
    from nas.comparison.content import content_of

    with opened(run_dir, existing=True) as run:
        config = run.read_config()
        require_trusted_code(run, config)
        if not config.task.is_proxy:
            raise ConfigError(
                f"retrain trains with the proxy task, and this search has its own task ({config.task.name}); "
                "train its necks with that"
            )
        if data_of(config).test is None:
            raise DataError("data.test is null: there are no images that the search has not seen to score the necks on")
        if workers is not None:
            config = override(config, [f"resources.workers={workers}"])
        trials = open_journal(run).trials()
        necks = contenders(config, trials, top)
        entries = sized(config, [*necks, *_given(names, config, necks)], same_width=same_width, goal_of=necks)
        jobs = final_jobs(config, longer(config.proxy, times), entries, seeds, content_of(config))
        train_and_compare(config, jobs, counts(trials), run.final, address)
        console.print(f"everything is in {shown(run_dir, run, run.final)}", soft_wrap=True)


def _given(names: Sequence[str], config: SearchConfig, necks: Sequence[NamedNeck]) -> list[NamedNeck]:
    """Necks given by name, without those that compute the same function as a neck of the search."""
    taken = {neck.topology.fingerprint for neck in necks if isinstance(neck.topology, Genotype)}
    topologies = {name: _topology(name, config.proxy.neck.levels) for name in names}
    return [
        NamedNeck(name, KNOWN_GROUP, topology)
        for name, topology in topologies.items()
        if not (isinstance(topology, Genotype) and topology.fingerprint in taken)
    ]


def _topology(name: str, levels: tuple[int, ...]) -> Genotype | str:
    try:
        topology = known_genotype(name, levels) if name in KNOWN else find_neck(name).topology
    except GenotypeError as error:
        raise ConfigError(f"--neck {name}: {error}") from error
    if topology is None:
        raise ConfigError(f"--neck {name} is not made of merge cells, so it cannot be built at another width")
    if isinstance(topology, Genotype) and topology.levels != levels:
        raise ConfigError(
            f"--neck {name} has levels {topology.levels}, but the search has {levels}; give a neck with the same levels"
        )
    return topology


def train_and_compare(
    config: SearchConfig,
    jobs: Mapping[Contender, Sequence[TrainingJob]],
    chosen_from: Mapping[str, int],
    out: Path,
    address: str | None,
) -> None:
    """Train what `out` does not hold, one seed of all after the other; print, draw and record what came of them.

    Args:
        jobs: as of `final_jobs`.
        chosen_from: see `counts`.
    """
    turns = zip(*jobs.values(), strict=True)
    store = train([job for turn in turns for job in turn], config.resources, out, address)
    found, failed = standings(jobs, store)
    steps = next(iter(jobs.values()))[0].proxy.steps
    _print(found, failed, steps)
    console.print(_budgets(chosen_from), soft_wrap=True)
    data = {"steps": steps, "chosen_from": dict(chosen_from), "standings": [_plain(entry) for entry in found]}
    write_record(out, "final", config, {**data, "failed": failed})
    _draw(out, list(jobs), found)


def _print(found: Sequence[Standing], failed: dict[str, str], steps: int) -> None:
    title = f"AP on the test split, {steps} steps; mean and 95 % interval over seeds"
    table = make_table(title, "neck", "AP", "±", "lowest .. highest", "channels", "MACs (M)", "params (k)")
    for entry in found:
        mark = "*" if off_goal(entry, found) else ""
        table.add_row(
            entry.contender.neck.label,
            f"{entry.mean:.2f}",
            f"{entry.margin:.2f}" if len(entry.aps) > 1 else "-",
            f"{min(entry.aps):.1f} .. {max(entry.aps):.1f}",
            str(entry.contender.channels),
            f"{entry.contender.macs / 1e6:.1f}{mark}",
            f"{entry.params / 1e3:.0f}",
        )
    console.print(table)
    console.print("MACs are those of neck and head, parameters those of the neck", soft_wrap=True)
    if any(off_goal(entry, found) for entry in found):
        console.print(f"* more than {100 * MACS_TOLERANCE:.0f} % off the median: no even comparison", soft_wrap=True)
    for label, reason in failed.items():
        console.print(f"{label} is left out: {reason}", soft_wrap=True)


def _budgets(chosen_from: Mapping[str, int]) -> str:
    found, drawn = chosen_from[FOUND_GROUP], chosen_from[RANDOM_GROUP]
    line = f"the best found are those of {found} candidates, the best random ones those of {drawn}"
    return line if found <= drawn else f"{line}: no even comparison of the two (random_trials)"


def _plain(entry: Standing) -> dict[str, Any]:
    neck = entry.contender.neck
    return {
        "neck": neck.label,
        "group": neck.group,
        "genotype": plain_topology(neck.topology),
        "channels": entry.contender.channels,
        "macs": entry.contender.macs,
        "params": entry.params,
        "latency_ms": entry.latency_ms,
        "AP": entry.aps,
        "mean": entry.mean,
        "margin": entry.margin if len(entry.aps) > 1 else None,
    }


def _draw(out: Path, entries: Sequence[Contender], found: Sequence[Standing]) -> None:
    from nas.comparison.pictures import means_with_intervals
    from nas.drawing.architecture import architecture

    means_with_intervals(found).savefig(out / "final.png", dpi=150)
    for entry in entries:
        topology = entry.neck.topology
        if entry.neck.group == FOUND_GROUP and isinstance(topology, Genotype):
            name = entry.neck.label.split(" (")[0].replace(" ", "_")
            architecture(topology).savefig(out / f"{name}.png", dpi=150)
