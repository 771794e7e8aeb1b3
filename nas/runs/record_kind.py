"""Kind of command that wrote a run directory's `config.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal


def kind_of(record: Any) -> Literal["search", "training"] | None:
    """The kind of command that wrote it; None for neither."""
    config = record.get("config") if isinstance(record, Mapping) else None
    if not isinstance(config, Mapping):
        return None
    return "search" if "controller" in config else "training" if "epochs" in config else None
