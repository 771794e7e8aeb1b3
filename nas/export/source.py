"""Statements as a formatter would lay them out."""

from __future__ import annotations

from collections.abc import Sequence

LINE_LENGTH = 120


def assignment(target: str, terms: Sequence[str], call: str = "", indent: int = 8) -> list[str]:
    """`target = call(a + b + c)`, over several lines where one is too short.

    Args:
        call: a function of the sum; without one its value is assigned.
    """
    margin = " " * indent
    total = " + ".join(terms)
    line = f"{margin}{target} = {call}({total})" if call else f"{margin}{target} = {total}"
    if len(line) <= LINE_LENGTH:
        return [line]
    inner = f"{margin}    {total}"
    body = [inner] if len(inner) <= LINE_LENGTH else _one_by_one(terms, f"{margin}    ")
    return [f"{margin}{target} = {call}(", *body, f"{margin})"]


def _one_by_one(terms: Sequence[str], margin: str) -> list[str]:
    return [margin + ("+ " if index else "") + term for index, term in enumerate(terms)]


def listed(opening: str, items: Sequence[str], closing: str, indent: int) -> list[str]:
    """`opening a, b, c closing` on one line, or with an item on each."""
    margin = " " * indent
    line = f"{margin}{opening}{', '.join(items)}{closing}"
    if len(line) <= LINE_LENGTH:
        return [line]
    return [margin + opening, *(f"{margin}    {item}," for item in items), margin + closing]
