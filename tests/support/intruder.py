"""Runs a function on the Ray at an address, as a stranger would. Arguments: the address, a file that it makes there."""

from __future__ import annotations

import sys
from pathlib import Path

import ray


@ray.remote
def run_code(path: str) -> str:
    Path(path).write_text("anything")
    return "ran\n"


if __name__ == "__main__":
    ADDRESS, FILE = sys.argv[1:]
    ray.init(ADDRESS, log_to_driver=False)
    sys.stdout.write(ray.get(run_code.remote(FILE), timeout=30))
