"""Statements as a formatter would lay them out."""

from __future__ import annotations

from collections.abc import Sequence

LINE_LENGTH = 120


def listed(opening: str, items: Sequence[str], closing: str, indent: int) -> list[str]:
    """`opening a, b, c closing` on one line, or with an item on each."""
    margin = " " * indent
    line = f"{margin}{opening}{', '.join(items)}{closing}"
    if len(line) <= LINE_LENGTH:
        return [line]
    return [margin + opening, *(f"{margin}    {item}," for item in items), margin + closing]
