"""Tables of a report's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nas.results.confirmed import HEADINGS, standing_rows
from nas.results.summary import TITLES, Row, cell
from nas.search.config import SearchConfig
from nas.search.confirmation import Verdict


@dataclass(frozen=True)
class TableRow:
    """Cells as text; a click on the row of a trial opens it."""

    cells: Sequence[str]
    trial: int | None = None


@dataclass(frozen=True)
class Table:
    """
    Args:
        head: titles of the columns.
    """

    head: Sequence[str]
    rows: Sequence[TableRow]


@dataclass(frozen=True)
class FinalStanding:
    """A neck that `nasfpn retrain` trained."""

    neck: str
    AP: list[float]
    mean: float
    margin: float | None
    channels: int
    macs: float
    params: float


@dataclass(frozen=True)
class FinalRecord:
    """Fields of `final.json` that the report reads."""

    steps: int
    standings: list[FinalStanding]


def trial_table(rows: Sequence[Row], columns: Sequence[str]) -> Table:
    """Rows of trials; those where nothing was scored are left out."""
    return Table(
        ["neck", *(TITLES.get(column, column) for column in columns)],
        [
            TableRow([row.label, *(cell(row.trial, column) for column in columns)], row.trial.number)
            for row in rows
            if row.trial is not None
        ],
    )


def standing_table(config: SearchConfig, verdict: Verdict) -> Table:
    """Contenders of the confirmation; a click on one opens the trial that it was chosen for."""
    rows = zip(standing_rows(config, verdict), verdict.standings, strict=True)
    return Table(HEADINGS, [TableRow(cells, standing.trial.number) for cells, standing in rows])


def final_table(record: FinalRecord) -> Table:
    """Standings of `nasfpn retrain`."""
    rows = [
        TableRow(
            [
                entry.neck,
                f"{entry.mean:.2f}",
                "-" if entry.margin is None else f"{entry.margin:.2f}",
                str(len(entry.AP)),
                str(entry.channels),
                f"{entry.macs / 1e6:.1f}",
                f"{entry.params / 1e3:.0f}",
            ]
        )
        for entry in record.standings
    ]
    return Table(("neck", "AP", "± (95 %)", "seeds", "channels", "MACs (M)", "params (k)"), rows)


def failure_table(reasons: Mapping[str, Sequence[int]]) -> Table | None:
    """Reasons with the numbers of their trials."""
    rows = [TableRow([reason, str(len(numbers)), _some(numbers)]) for reason, numbers in reasons.items()]
    return Table(("reason", "trials", "which"), rows) if rows else None


def _some(numbers: Sequence[int], most: int = 12) -> str:
    more = f" and {len(numbers) - most} more" if len(numbers) > most else ""
    return ", ".join(map(str, numbers[:most])) + more
