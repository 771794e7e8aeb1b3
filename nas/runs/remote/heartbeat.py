"""Heartbeat of a search on a URL: a small object there, renewed while it lives, that says who writes."""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import asdict, dataclass
from uuid import uuid4

from nas.configuration import ConfigError, from_dict
from nas.runs.remote.files import Remote
from search_space.files import FileError, parse_json

HEARTBEAT = "search.heartbeat"

ROUND_SECONDS = 15.0
"""Seconds between two heartbeats, and the most that a search on a URL loses when its machine dies."""

DEAD_ROUNDS = 3
"""A heartbeat that has not changed for so many rounds is that of a dead search."""

POLL_SECONDS = 1.0
OLD_SECONDS = 3600.0
"""Older than this by the clock, a heartbeat is dead even if the clocks of two machines differ somewhat."""


@dataclass(frozen=True, kw_only=True)
class Beat:
    """One heartbeat."""

    owner: str
    """Made anew by every start of a search."""
    host: str
    pid: int
    time: float
    """By the writer's clock."""

    def is_fresh(self) -> bool:
        """True if it is recent; wrong when clocks differ by more than a round or two."""
        return abs(time.time() - self.time) < DEAD_ROUNDS * ROUND_SECONDS


def read_beat(remote: Remote) -> Beat | None:
    """The latest heartbeat of any search; None if there is none that can be read."""
    content = remote.read(HEARTBEAT)
    try:
        return None if content is None else from_dict(Beat, parse_json(content, HEARTBEAT))
    except (FileError, ConfigError):
        return None


def write_beat(remote: Remote, owner: str) -> None:
    beat = Beat(owner=owner, host=platform.node(), pid=os.getpid(), time=time.time())
    remote.write(HEARTBEAT, json.dumps(asdict(beat)).encode())


def new_owner() -> str:
    return uuid4().hex


def is_alive(remote: Remote, found: Beat) -> bool:
    """True if the search that wrote `found` goes on; takes a round to become True, and a few to become False.

    It watches for a change, so that the clocks of two machines need not agree.
    """
    if time.time() - found.time > OLD_SECONDS:
        return False
    end = time.monotonic() + DEAD_ROUNDS * ROUND_SECONDS
    while time.monotonic() < end:
        time.sleep(POLL_SECONDS)
        now = read_beat(remote)
        if now != found:
            return now is not None
    return False
