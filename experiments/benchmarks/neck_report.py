"""Tables and a picture of what `experiments.benchmarks.necks` measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.benchmarks.results import RESULTS, write_result

Row = dict[str, Any]
COLORS = {"peer": "#9aa0a6", "ours": "#1f77b4", "ours fused": "#2ca02c"}
TITLE = "Necks: time over their convolutions, beside public implementations"

NOTES = """`over the floor` is time over that of the neck's convolutions alone, on random maps of the same shapes;
`times faster` is the public neck's time over ours, with the same weights and equal outputs. Medians of ratios within
rounds, in which all variants run in turns. NCHW and NHWC (channels_last) are the layouts that backbone and weights
have; `best` takes for each side, floor included, the layout that it is quicker in. `fused` is `neck.fuse()`, for
inference. `graphed`: the eager step as one CUDA graph, so that the host's time does not count; `compiled`: by
`torch.compile`, on a GPU as one CUDA graph, too."""


def write_report(name: str, rows: Sequence[Row], profiled: Row, memory: Row, side: int) -> Path:
    """`NAME.md`, `NAME.json` and `NAME.png`; returns the path of the first."""
    parts = [NOTES, f"![time over the convolutions]({name}.png)", speed_table(rows)]
    if profiled:
        parts += [
            f"## Where our time goes, {side} px, one image, fp32, as it is (not fused)\n\n{_shares_table(profiled)}",
            f"## Peak memory of a training step, {side} px, one image, fp32, MiB\n\n{_memory_table(memory)}",
        ]
    body = "\n\n".join(parts)
    path = write_result(name, TITLE, body, {"rows": list(rows), "shares": profiled, "memory": memory})
    drawn(rows).savefig(RESULTS / f"{name}.png", dpi=130)
    return path


def speed_table(rows: Sequence[Row]) -> str:
    lines = [
        "| neck | px | batch | phase | mode | floor, ms | over the floor: public | ours | fused "
        "| times faster: NCHW | NHWC | best | best, fused |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join(lines + [_speed_line(row) for row in rows])


def _speed_line(row: Row) -> str:
    mode = f"{row['precision']}, {row['mode']}"
    start = f"| {row['neck']} | {row['side']} | {row['batch']} | {row['phase']} | {mode} |"
    if "skipped" in row:
        return f"{start} not measured: {row['skipped']} |" + " |" * 7
    over, faster, layouts = row["over_floor"], row.get("times_faster", {}), row.get("times_faster_in", {})
    values = [
        row["ms"][row["best"]["floor"]],
        *(over.get(kind) for kind in ("peer", "ours", "ours fused")),
        *(layouts.get(layout, {}).get("ours") for layout in ("NCHW", "NHWC")),
        *(faster.get(kind) for kind in ("ours", "ours fused")),
    ]
    return (
        f"{start} {values[0]:.1f} | " + " | ".join("" if each is None else f"{each:.2f}" for each in values[1:]) + " |"
    )


def _shares_table(profiled: Row) -> str:
    kinds = list(next(iter(next(iter(profiled.values())).values())))
    lines = [f"| neck | phase | {' | '.join(kinds)} |", "|---|---|" + "---|" * len(kinds)]
    for name, phases in profiled.items():
        for phase, shares in phases.items():
            lines.append(f"| {name} | {phase} | {' | '.join(f'{100 * shares[kind]:.0f} %' for kind in kinds)} |")
    return "\n".join(lines)


def _memory_table(memory: Row) -> str:
    columns = ("peer", "ours", "ours, recomputed")
    lines = ["| neck | public | ours | ours, repeats recomputed |", "|---|---|---|---|"]
    for name, taken in memory.items():
        cells = (f"{taken[column] / 2**20:.0f}" if column in taken else "" for column in columns)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def drawn(rows: Sequence[Row]) -> Figure:
    """Bars of the time over the floor for the first side, batch, precision and mode; a gap where none was measured."""
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    shown = ("side", "batch", "precision", "mode")
    rows = [row for row in rows if all(row[key] == rows[0][key] for key in shown)]
    names = list(dict.fromkeys(row["neck"] for row in rows))[::-1]
    for position, phase in enumerate(("inference", "training")):
        axes = figure.add_subplot(1, 2, position + 1)
        measured = {row["neck"]: row["over_floor"] for row in rows if row["phase"] == phase and "over_floor" in row}
        for offset, (kind, color) in enumerate(reversed(COLORS.items())):
            bars = {
                names.index(neck) + 0.26 * (offset - 1): over[kind] for neck, over in measured.items() if kind in over
            }
            if bars:
                label = "public" if kind == "peer" else kind
                axes.barh(list(bars), list(bars.values()), 0.24, color=color, label=label)
        axes.axvline(1, color="black", linewidth=0.8)
        axes.set_yticks(range(len(names)), names if position == 0 else [])
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.set_title(phase)
        axes.set_xlabel("time over that of the convolutions alone")
        if measured:
            axes.legend(loc="lower right", fontsize="small", reverse=True)
    return figure
