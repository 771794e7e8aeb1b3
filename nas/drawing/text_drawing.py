"""A genotype drawn in text."""

from __future__ import annotations

from search_space import Genotype

MAX_WIDTH = 100
MERGES = {"sum": "sum", "attention": "gated", "fast_normalized": "shares", "softmax": "softmax"}


def text_drawing(genotype: Genotype, names: dict[int, str]) -> list[str]:
    """Levels as rows, coarse on top, and cells as columns in the order of computation, each over what it merges.

    `[name]` is convolved after the merge; `+ name` below a cell is added by the dangling rule. Drawings wider than
    `MAX_WIDTH` go on below.

    Args:
        names: of the nodes to draw.
    """
    first = len(genotype.levels)
    cells = [node for node in sorted(names) if node >= first]
    columns = [_column(genotype, names, node) for node in cells]
    lines: list[str] = []
    while columns:
        count = _fitting(columns)
        lines += [""] * bool(lines) + _panel(genotype, columns[:count], with_inputs=not lines)
        columns = columns[count:]
    return lines


def _column(genotype: Genotype, names: dict[int, str], node: int) -> tuple[int, list[str]]:
    """Row of the cell, and its texts from the cell's own name down."""
    index = node - len(genotype.levels)
    cell = genotype.cells[index]
    name = names[node] if cell.transform == "none" else f"[{names[node]}]"
    operands = [names[operand] for operand in cell.inputs]
    dangling = [f"+ {names[operand]}" for operand in genotype.dangling[index]]
    merge = [MERGES.get(cell.merge, cell.merge)] if len(operands) > 1 or cell.merge != "sum" else ["of"]
    return genotype.levels.index(cell.level), [name, *merge, *operands, *dangling]


def _width(column: tuple[int, list[str]]) -> int:
    return max(map(len, column[1])) + 2


def _fitting(columns: list[tuple[int, list[str]]]) -> int:
    """How many of the columns fit beside each other; one at least."""
    total = 8
    for count, column in enumerate(columns):
        total += _width(column)
        if total > MAX_WIDTH and count:
            return count
    return len(columns)


def _panel(genotype: Genotype, columns: list[tuple[int, list[str]]], *, with_inputs: bool) -> list[str]:
    lines = []
    for row, level in reversed(list(enumerate(genotype.levels))):
        start = f"P{level}  {f'p{level}' if with_inputs else '':<4}"
        cells = [(texts[0] if at == row else "").ljust(_width((at, texts))) for at, texts in columns]
        lines.append((start + "".join(cells)).rstrip())
    lines.append("")
    for index in range(1, max(len(texts) for _, texts in columns)):
        cells = [(texts[index] if index < len(texts) else "").ljust(_width((at, texts))) for at, texts in columns]
        lines.append((" " * 8 + "".join(cells)).rstrip())
    return lines
