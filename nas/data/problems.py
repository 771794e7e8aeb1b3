"""Problems of a data set, collected so that ten thousand of one kind do not bury the others."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from nas.text import MESSAGE_LIMIT, plain

Severity = Literal["error", "warning"]

MAX_PER_KIND = 10
"""How many problems of one kind are listed one by one; the rest are counted."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong."""

    severity: Severity
    """`error`: a run would fail or its scores would mislead. `warning`: worth a look."""
    split: str
    """`train`, `reward`, `test`, or `data` for what concerns them all."""
    message: str
    """One line: file, entry, what is wrong, what to do."""

    def __str__(self) -> str:
        return f"{self.severity} [{self.split}] {self.message}"


class Findings:
    """Problems of one split, in the order found."""

    def __init__(self, split: str) -> None:
        self._split = split
        self._problems: list[Problem] = []
        self._counts: Counter[tuple[Severity, str]] = Counter()

    def error(self, kind: str, message: str) -> None:
        """Add an error; `kind` names all problems of its sort."""
        self._add("error", kind, message)

    def warning(self, kind: str, message: str) -> None:
        """Add a warning; `kind` names all problems of its sort."""
        self._add("warning", kind, message)

    def problems(self) -> list[Problem]:
        """Errors before warnings, with a line for each kind that was cut short."""
        more = [
            Problem(severity, self._split, f"... and {count - MAX_PER_KIND} more of this kind: {kind}")
            for (severity, kind), count in self._counts.items()
            if count > MAX_PER_KIND
        ]
        return sorted(self._problems + more, key=lambda problem: problem.severity)

    def _add(self, severity: Severity, kind: str, message: str) -> None:
        self._counts[severity, kind] += 1
        if self._counts[severity, kind] <= MAX_PER_KIND:
            self._problems.append(Problem(severity, self._split, plain(message, MESSAGE_LIMIT)))
