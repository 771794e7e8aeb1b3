"""Result files: what was measured, with the command, the hardware, the versions and the date."""

from __future__ import annotations

import json
import shlex
import sys
from datetime import date
from pathlib import Path
from typing import Any

from nas.credentials import without_credentials_in
from nas.environment import environment

RESULTS = Path(__file__).parent.parent / "results"


def write_result(name: str, title: str, body: str, data: Any, directory: Path = RESULTS) -> Path:
    """Write `NAME.md` for reading and `NAME.json` for programs; returns the path of the first."""
    directory.mkdir(parents=True, exist_ok=True)
    module = sys.modules["__main__"].__spec__
    command = shlex.join(["python", "-m", module.name if module else "?", *without_credentials_in(sys.argv[1:])])
    facts = environment()
    (directory / f"{name}.json").write_text(
        json.dumps({"command": command, "date": date.today().isoformat(), "environment": facts, "data": data}, indent=1)
        + "\n"
    )
    versions = ", ".join(f"{key} {value}" for key, value in facts.items() if value)
    path = directory / f"{name}.md"
    path.write_text(f"# {title}\n\n{body}\n\nCommand: `{command}`  \nDate: {date.today()}  \nOn: {versions}\n")
    return path
