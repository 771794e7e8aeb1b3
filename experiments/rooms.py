"""Rooms of the project and the imports between them, as a picture and in numbers.

Rooms are drawn from the top, those that import above those that are imported; an arrow that runs upwards closes a
circle and is red. `python -m experiments.rooms docs/pictures/rooms.svg` draws the picture of the documentation.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import grimp
import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

ROOT = Path(__file__).parent.parent
PACKAGES = ("nasfpn", "experiments", "nas", "necks", "controllers", "search_space")
SPLIT = "nas"
"""Package whose subpackages are rooms of their own; its modules outside of them are one room."""

Room = str
Imports = Counter[tuple[Room, Room]]

INK, SOFT, FILL, WRONG = "#1b1f24", "#8a93a0", "#dbe7f3", "#c0392b"
WIDTH, HEIGHT, STEP = 1.5, 0.5, 1.65


def room_of(module: str) -> Room:
    """`nas.runs.remote.mirror` -> `nas.runs`."""
    parts = module.split(".")
    if parts[0] != SPLIT or len(parts) < 2:
        return parts[0]
    return f"{parts[0]}.{parts[1]}" if (ROOT / parts[0] / parts[1]).is_dir() else parts[0]


def imports_between_rooms() -> Imports:
    """Pairs of rooms -> imports of modules of the second by modules of the first."""
    graph = grimp.build_graph(PACKAGES[0], *PACKAGES[1:])
    found: Imports = Counter()
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            pair = room_of(module), room_of(imported)
            if pair[0] != pair[1]:
                found[pair] += 1
    return Counter(dict(sorted(found.items())))


def rooms_of(imports: Imports) -> list[Room]:
    """All rooms that import or are imported, by name."""
    return sorted({room for pair in imports for room in pair})


def depths(rooms: Iterable[Room], imports: Imports) -> dict[Room, int]:
    """The longest way from each room down to one that imports none; rooms of a circle count each other once."""

    def depth(room: Room, above: tuple[Room, ...]) -> int:
        below = [b for a, b in imports if a == room and b not in above]
        return 1 + max((depth(b, (*above, room)) for b in below), default=-1)

    return {room: depth(room, ()) for room in rooms}


def circles(imports: Imports) -> list[tuple[Room, Room]]:
    """Pairs of rooms that reach each other."""
    below: dict[Room, set[Room]] = {}
    for a, b in imports:
        below.setdefault(a, set()).add(b)
    reach = {room: _reached(room, below) for room in below}
    return [(a, b) for a, b in imports if a in reach.get(b, ())]


def _reached(room: Room, below: Mapping[Room, set[Room]]) -> set[Room]:
    found: set[Room] = set()
    left = [room]
    while left:
        new = below.get(left.pop(), set()) - found
        found |= new
        left += new
    return found


def lines_of(room: Room) -> tuple[int, int]:
    """Python files of a room and their lines."""
    folder = ROOT.joinpath(*room.split("."))
    files = list(folder.glob("*.py")) if room == SPLIT else list(folder.rglob("*.py"))
    return len(files), sum(path.read_text().count("\n") for path in files)


def drawing(imports: Imports) -> Figure:
    """Arrows are as wide as the imports are many; those that skip no row of rooms are drawn dark."""
    rooms = rooms_of(imports)
    row = depths(rooms, imports)
    figure = Figure(figsize=(7.6, 0.4 + 0.85 * (max(row.values()) + 1)), layout="constrained")
    axes = figure.add_subplot()
    axes.axis("off")
    places: dict[Room, tuple[float, float]] = {}
    for level in range(max(row.values()) + 1):
        here = [room for room in rooms if row[room] == level]
        for index, room in enumerate(here):
            places[room] = (STEP * (index - (len(here) - 1) / 2) + 0.3 * (level % 2), float(level))
    for room, (x, y) in places.items():
        axes.add_patch(
            FancyBboxPatch(
                (x - WIDTH / 2, y - HEIGHT / 2),
                WIDTH,
                HEIGHT,
                "round,pad=0.02",
                facecolor=FILL,
                edgecolor=INK,
                zorder=3,
            )
        )
        files, lines = lines_of(room)
        axes.text(x, y + 0.08, room, ha="center", va="center", fontsize=10, color=INK, zorder=4)
        axes.text(x, y - 0.12, f"{files} files, {lines:,} lines", ha="center", va="center", fontsize=6.5, zorder=4)
    for (above, below), count in imports.items():
        (x, y), (u, v) = places[above], places[below]
        colour = WRONG if v >= y else INK if y - v == 1 else SOFT
        axes.add_patch(
            FancyArrowPatch(
                (x, y - HEIGHT / 2),
                (u, v + HEIGHT / 2),
                arrowstyle="-|>",
                mutation_scale=8,
                linewidth=0.4 + 0.12 * min(count, 12),
                color=colour,
                alpha=0.9 if colour != SOFT else 0.35,
                zorder=2 if colour != SOFT else 1,
            )
        )
    axes.set_xlim(min(x for x, _ in places.values()) - 0.85, max(x for x, _ in places.values()) + 0.85)
    axes.set_ylim(-0.4, max(row.values()) + 0.4)
    return figure


def summary(imports: Imports) -> str:
    """Number of rooms, files and lines, and what arrows close a circle."""
    rooms = rooms_of(imports)
    files, lines = (sum(size) for size in zip(*map(lines_of, rooms), strict=True))
    wrong = ", ".join(f"{a} -> {b}" for a, b in sorted(circles(imports))) or "none"
    return f"{len(rooms)} rooms, {files} files, {lines:,} lines\narrows that are part of a circle: {wrong}\n"


def main() -> None:
    """Prints the summary and writes the picture, which is the same file for the same imports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path, nargs="?", help="SVG or PNG to write")
    arguments = parser.parse_args()
    imports = imports_between_rooms()
    sys.stdout.write(summary(imports))
    if arguments.picture:
        metadata = {"Date": None} if arguments.picture.suffix == ".svg" else {}
        with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "rooms"}):
            drawing(imports).savefig(arguments.picture, metadata=metadata)


if __name__ == "__main__":
    main()
