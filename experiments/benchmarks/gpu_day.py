"""Everything that only a GPU can measure, in order of worth, within a few minutes.

`python -m experiments.benchmarks.gpu_day --out DIR` runs each part as a process of its own, which a failing part, a
lost GPU or a limit of time ends alone. DIR has `gpu_day.json` and `gpu_day.md` after every part, with what was measured
so far, and the log of each part. `--dry` runs all of it at tiny sizes on the CPU, where its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from nas.atomic_write import atomic_write
from nas.credentials import without_credentials_in
from nas.environment import environment

State = Literal["done", "failed", "cut off", "no time left"]
GRACE = 10
"""Seconds that a part has to end by itself when its time is over."""
TAIL = 1500
"""Characters of a failed part's log that are kept as its error."""


@dataclass(frozen=True)
class Part:
    """
    Args:
        limit: seconds that it may take; None: all that are left.
        least: seconds below which it is not worth a start.
    """

    name: str
    title: str
    limit: float | None
    least: float


PARTS = (
    Part("tests", "Tests that need a GPU", 100, 20),
    Part("candidates", "A candidate, in ordinary steps and as one CUDA graph", 100, 30),
    Part("hourly", "Candidates per hour", 150, 60),
    Part("necks", "Necks beside their convolutions and public ones", 70, 30),
    Part("coco", "Steps of COCO-sized proxy tasks", 60, 30),
    Part("search", "A search in what is left", None, 75),
)

Run = Callable[[Part, float], tuple[State, str | None]]
"""Runs a part within so many seconds; says how it ended, and why if it failed."""


@dataclass
class Record:
    """Outcome of a part; `data` is all that it had measured by its end."""

    name: str
    title: str
    state: State
    seconds: float
    error: str | None = None
    data: dict[str, Any] = field(default_factory=dict)


def run_parts(
    parts: Sequence[Part],
    seconds: float,
    run: Run,
    data_of: Callable[[Part], dict[str, Any]],
    keep: Callable[[list[Record]], None],
    clock: Callable[[], float] = time.monotonic,
) -> list[Record]:
    """Run parts one after another while time is left, and keep the records after each.

    Args:
        seconds: of all parts together.
        data_of: what a part has measured so far.
    """
    end = clock() + seconds
    records: list[Record] = []
    for part in parts:
        start = clock()
        left = end - start
        if left < part.least:
            records.append(Record(part.name, part.title, "no time left", 0.0))
        else:
            state, error = run(part, left if part.limit is None else min(left, part.limit))
            records.append(Record(part.name, part.title, state, clock() - start, error, data_of(part)))
        keep(records)
    return records


def launched(command: Sequence[str], log: Path, seconds: float) -> tuple[State, str | None]:
    """Run a command with its output in `log`; past its time it is interrupted, then killed with all that it started."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            status = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            _end(process)
            return "cut off", None
    if status == 0:
        return "done", None
    return "failed", f"exit status {status}: {log.read_text(errors='replace')[-TAIL:].strip()}"


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=GRACE)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def measured(out: Path, part: Part) -> dict[str, Any]:
    """Figures that a part wrote; empty if it wrote none."""
    path = out / f"{part.name}.json"
    if not path.exists():
        return {}
    data: dict[str, Any] = json.loads(path.read_text())
    return data


def write_report(out: Path, records: Sequence[Record], *, dry: bool) -> None:
    """`gpu_day.json` and `gpu_day.md`."""
    command = shlex.join(["python", "-m", "experiments.benchmarks.gpu_day", *without_credentials_in(sys.argv[1:])])
    facts = environment()
    record = {"command": command, "dry": dry, "environment": facts, "parts": [asdict(each) for each in records]}
    atomic_write(out / "gpu_day.json", json.dumps(record, indent=1) + "\n")
    warning = "**A dry run at tiny sizes: no figure here means anything.**\n\n" if dry else ""
    on = ", ".join(f"{key} {value}" for key, value in facts.items() if value)
    body = "\n\n".join(_section(each) for each in records)
    atomic_write(
        out / "gpu_day.md",
        f"# The GPU day\n\n{warning}{body}\n\nCommand: `{command}`  \nDate: {time.strftime('%Y-%m-%d')}  \nOn: {on}\n",
    )


def _section(record: Record) -> str:
    lines = [f"## {record.title}", f"{record.state}, {record.seconds:.0f} s"]
    if record.data.get("markdown"):
        lines.append(record.data["markdown"])
    if record.error:
        lines.append(f"```\n{record.error}\n```")
    return "\n\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="directory for what is measured")
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--only", nargs="+", choices=[part.name for part in PARTS], help="no other parts")
    parser.add_argument("--set", dest="assignments", action="append", default=[], help="fields of the search")
    parser.add_argument("--dry", action="store_true", help="tiny, on the CPU: to see that everything runs")
    arguments = parser.parse_args()
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    parts = [part for part in PARTS if not arguments.only or part.name in arguments.only]
    for part in parts:
        (out / f"{part.name}.json").unlink(missing_ok=True)

    def run(part: Part, seconds: float) -> tuple[State, str | None]:
        print(f"{part.name}: at most {seconds:.0f} s", flush=True)
        command = [sys.executable, "-m", "experiments.benchmarks.gpu_parts", part.name]
        command += ["--out", str(out), "--seconds", f"{seconds:.0f}", *(["--dry"] if arguments.dry else [])]
        command += [word for each in arguments.assignments for word in ("--set", each)]
        return launched(command, out / f"{part.name}.log", seconds)

    def keep(records: list[Record]) -> None:
        write_report(out, records, dry=arguments.dry)
        print(f"{records[-1].name}: {records[-1].state}, {records[-1].seconds:.0f} s", flush=True)

    records = run_parts(parts, 60 * arguments.minutes, run, lambda part: measured(out, part), keep)
    print((out / "gpu_day.md").read_text())
    if any(record.state == "failed" for record in records):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
