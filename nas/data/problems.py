"""Problems of a data set, collected so that ten thousand of one kind do not bury the others."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Literal

from nas.text import MESSAGE_LIMIT, plain

Severity = Literal["error", "warning"]

MAX_PER_KIND = 10
"""Errors of one kind that are listed one by one; the rest are counted."""
MAX_WARNINGS = 3
"""Warnings of one kind that are listed one by one; more become one line."""


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
        self._found: defaultdict[tuple[Severity, str], list[str]] = defaultdict(list)
        self._counts: Counter[tuple[Severity, str]] = Counter()

    def error(self, kind: str, message: str) -> None:
        """Add an error; `kind` names all problems of its sort."""
        self._add("error", kind, message)

    def warning(self, kind: str, message: str) -> None:
        """Add a warning; `kind` names all problems of its sort."""
        self._add("warning", kind, message)

    def problems(self) -> list[Problem]:
        """Errors before warnings; a kind with many warnings is one line, and further errors of a kind are counted."""
        every = [problem for kind in self._found for problem in self._listed(*kind)]
        return sorted(every, key=lambda problem: problem.severity)

    def _listed(self, severity: Severity, kind: str) -> list[Problem]:
        count, found = self._counts[severity, kind], self._found[severity, kind]
        if severity == "warning" and count > MAX_WARNINGS:
            return [self._problem(severity, f"{count} warnings of this kind ({kind}), such as: {found[0]}")]
        more = [f"... and {count - len(found)} more of this kind: {kind}"] if count > len(found) else []
        return [self._problem(severity, message) for message in [*found, *more]]

    def _problem(self, severity: Severity, message: str) -> Problem:
        return Problem(severity, self._split, plain(message, MESSAGE_LIMIT))

    def _add(self, severity: Severity, kind: str, message: str) -> None:
        self._counts[severity, kind] += 1
        if self._counts[severity, kind] <= MAX_PER_KIND:
            self._found[severity, kind].append(message)
