"""Answers of workers that no payload has a say in: that a worker is ready, or that a payload has no result."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Failed:
    """A payload without a result.

    Args:
        error: the reason, in one line.
    """

    error: str


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A worker that can run payloads, or why it cannot.

    Args:
        estimate: seconds that a payload will take, if asked for and known.
    """

    failure: str | None = None
    estimate: float | None = None
