"""Functions that generated files call: those of `necks`, as they stand there."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from types import FunctionType
from typing import Any

from necks import merge, resample, sizes

CONSTANTS = {
    "FUSION_EPS": [f"FUSION_EPS = {merge.FUSION_EPS}"],
    "Size": ["", "Size = tuple[int, int]"],
}
"""Lines that define what functions name."""


def library_functions() -> list[FunctionType]:
    """All of them, those that others call first."""
    functions: list[Any] = [
        *(sizes.ceil_div, sizes.same_padding, sizes.tiles),
        *(resample.laid_out, resample.always_laid_out, resample.up, resample.fit, resample.halve),
        resample.pad,
        *(resample.max_pool, resample.max_pool3, resample.max_pool3_same, resample.max_pool_padded),
        *(merge.max_gate, merge.average_gate, *merge.SHARES.values(), *merge.FUNCTIONS.values()),
    ]
    return functions


def called(lines: Iterable[str]) -> list[list[str]]:
    """Source of the functions that these lines call, and of those that they call in turn."""
    text = "\n".join(lines)
    found: list[list[str]] = []
    for function in reversed(library_functions()):
        if re.search(rf"(?<![\w.]){function.__name__}\(", text):
            source = _without_traces(inspect.getsource(function))
            text += source
            found.insert(0, source.strip().splitlines())
    return found


def _without_traces(source: str) -> str:
    for ours, theirs in resample.TRACEABLE.items():
        source = re.sub(rf"(?<![\w.]){ours}\(", f"{theirs}(", source)
    return source
