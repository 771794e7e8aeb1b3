"""Ray's Jobs API, with errors in one line and a log that survives lost connections."""

from __future__ import annotations

import asyncio
import http.client
import importlib.util
import logging
import os
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from nas.credentials import reason, scrubbed, without_credentials
from nas.errors import UserError
from nas.workers import unprotected

CONNECT_SECONDS = 8
"""Ray's own client waits for a silent address for minutes."""

AGENT_SECONDS = 60
"""The dashboard answers before the part of the head that runs jobs does."""

RECONNECTS = 6
"""Times in a row that the log may break off without a new line, each twice as long after the one before."""

ENDS = ("SUCCEEDED", "FAILED", "STOPPED")
ADDRESS_VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")


class ClusterError(UserError):
    """A cluster that cannot be used as asked; the message says what to check."""


class Jobs(Protocol):
    """Methods of `ray.job_submission.JobSubmissionClient` that are used here."""

    def submit_job(self, **job: Any) -> str: ...

    def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
        """From the beginning of the log, whenever called."""
        ...

    def get_job_info(self, job_id: str) -> Any:
        """Has `status` and `message`."""
        ...


@dataclass(frozen=True)
class JobEnd:
    """How a job ended: one of `ENDS`, and what Ray says about it."""

    status: str
    message: str


def connect(address: str) -> tuple[Jobs, bool]:
    """A client of the cluster whose dashboard is at `address`, and whether that cluster asks for a token.

    Raises:
        ClusterError: within seconds, if nobody answers there, or the cluster does not let us in.
    """
    address = address.rstrip("/")
    if importlib.util.find_spec("aiohttp") is None:
        raise ClusterError("nasfpn submit needs ray[default]; install it: pip install 'nas-fpn[cluster]'")
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ClusterError(
            f"--address is the URL of Ray's dashboard, such as http://head:8265; got {without_credentials(address)!r}"
        )
    protected = asks_for_token(address)
    from ray.job_submission import JobSubmissionClient

    for name in ("dashboard.modules.dashboard_sdk", "dashboard.modules.job.sdk", "_private.runtime_env.packaging"):
        logging.getLogger(f"ray.{name}").setLevel(logging.WARNING)
    with one_line(address), _without(ADDRESS_VARIABLES):
        return JobSubmissionClient(address), protected


def asks_for_token(address: str) -> bool:
    """True if a dashboard refuses callers without a token; one that does not is warned about.

    Raises:
        ClusterError: if none answers.
    """
    try:
        urllib.request.urlopen(f"{address}/api/version", timeout=CONNECT_SECONDS).close()
        unprotected.warn(address)
        return False
    except (OSError, ValueError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError) and error.code in (401, 403):
            return True
        cause = getattr(error, "reason", error)
        why = reason(cause, address) if isinstance(cause, BaseException) else cause
        raise ClusterError(
            f"no Ray dashboard answers at {without_credentials(address)} ({why}); check that the head runs one "
            "(ray start --head --include-dashboard true --dashboard-host 0.0.0.0, with ray[default]), that its port, "
            "usually 8265, is open from here (or forwarded: ray dashboard, ssh -L, kubectl port-forward), and http:// "
            "against https://"
        ) from error


@contextmanager
def _without(names: tuple[str, ...]) -> Iterator[None]:
    """Ray lets these variables override the address that it is given."""
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(before)


@contextmanager
def one_line(address: str) -> Iterator[None]:
    """Errors of Ray's client as one line."""
    from ray.exceptions import AuthenticationError

    address = without_credentials(address)
    try:
        yield
    except AuthenticationError as error:
        raise ClusterError(
            f"the cluster at {address} requires a token ({_gist(error.message)}); set RAY_AUTH_MODE=token, and "
            "RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token to the token that it was started with"
        ) from error
    except (RuntimeError, OSError, ValueError) as error:
        raise ClusterError(f"Ray at {address}: {_gist(error)}") from error


def _gist(error: object) -> str:
    """The line that says what happened: of a server's traceback the last."""
    text = scrubbed(str(error))
    lines = [line.strip() for line in text.splitlines() if any(map(str.isalnum, line))] or [type(error).__name__]
    return lines[-1 if "Traceback" in text else 0][:500]


def submit_when_ready(jobs: Jobs, address: str, **job: Any) -> str:
    """Submit a job, also to a head that has just started; gives its submission id.

    Raises:
        ClusterError: if the cluster does not take it.
    """
    deadline = time.monotonic() + AGENT_SECONDS
    with one_line(address):
        while True:
            try:
                return jobs.submit_job(**job)
            except RuntimeError as error:
                if "No available agent" not in str(error) or time.monotonic() > deadline:
                    raise
            time.sleep(1)


def follow(jobs: Jobs, submission_id: str, write: Callable[[str], None]) -> JobEnd:
    """Write the log of a job as it grows, until the job ends.

    Raises:
        ConnectionError: if the cluster is lost for longer than the reconnects take; the job may go on.
    """
    return asyncio.run(_Follower(jobs, submission_id, write).run())


class _Follower:
    """Writes each part of the log once, however often the connection breaks."""

    def __init__(self, jobs: Jobs, submission_id: str, write: Callable[[str], None]) -> None:
        self.jobs = jobs
        self.submission_id = submission_id
        self.write = write
        self.written = 0

    async def run(self) -> JobEnd:
        failures = 0
        while True:
            written = self.written
            try:
                await self._tail()
                info = self.jobs.get_job_info(self.submission_id)
                if str(info.status) in ENDS:
                    return JobEnd(str(info.status), info.message or "")
                failures = 0
            except Exception as error:
                failures = failures + 1 if self.written == written else 1
                if not _is_connection(error) or failures > RECONNECTS:
                    raise ConnectionError(_gist(error)) from error
            await asyncio.sleep(2**failures / 2)

    async def _tail(self) -> None:
        known = self.written
        async for text in self.jobs.tail_job_logs(self.submission_id):
            new = text[known:]
            known = max(0, known - len(text))
            if new:
                self.write(new)
                self.written += len(new)


def _is_connection(error: Exception) -> bool:
    """Ray's client gives RuntimeError for a broken log and for what the server refuses."""
    import aiohttp

    return isinstance(error, (OSError, RuntimeError, aiohttp.ClientError, asyncio.TimeoutError))
