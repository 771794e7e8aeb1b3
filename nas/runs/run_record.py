"""Record of a run directory, its `config.json`."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from nas.search.config import SearchConfig

BEFORE: dict[str, Any] = {"confirm": {"trainings": 0}, "known_width": "same", "random_budget": "trials"}
"""Settings that older versions lacked, as those versions behaved."""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """The content of `config.json`.

    Args:
        command: words of the command line that started the search.
        later_commands: of those that went on with it and changed a setting, such as `nasfpn extend`.
        environment: versions and hardware, as `environment` gives them.
        study: name of the search among those in the same database.
    """

    config: SearchConfig
    command: tuple[str, ...] = ()
    later_commands: tuple[tuple[str, ...], ...] = ()
    environment: dict[str, Any] = Field(default_factory=dict)
    study: str | None = None


def completed(record: Any) -> Any:
    """A record of an older version with what that version did where it had no setting."""
    if not isinstance(record, dict) or not isinstance(config := record.get("config"), dict):
        return record
    return {**record, "config": {**BEFORE, **config}}
