"""Run directories by path or by URL: the one place where what users type becomes a `RunDirectory`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock

from nas.credentials import without_credentials
from nas.runs.remote.files import Remote, RemoteError, is_url, reachable
from nas.runs.remote.heartbeat import read_beat
from nas.runs.remote.mirror import Mirror
from nas.runs.remote.staging import CONFIG, JOURNAL, Staging, staging_path
from nas.runs.run_directory import RunDirectory, RunDirectoryError
from nas.runs.trial_names import split_name

WEIGHTS = ".safetensors"


@contextmanager
def opened(place: str, *, existing: bool = False) -> Iterator[RunDirectory]:
    """A run directory to be written to; that at a URL is a local copy, see `mirrored`.

    Args:
        existing: refuse a place where no search was started.

    Raises:
        RunDirectoryError, RemoteError, MirrorError: if it cannot be had or, at the end, not be uploaded.
    """
    if not is_url(place):
        yield _checked(place, RunDirectory(place), existing)
        return
    if existing and not (staging_path(place) / CONFIG).is_file():
        _require_search(place, Remote(place))
    with mirrored(place) as path:
        yield _checked(place, RunDirectory(path), existing)


@contextmanager
def fetched(place: str, *parts: str) -> Iterator[RunDirectory]:
    """A run directory to be read; that at a URL is a temporary copy of settings, journal and `parts`.

    Args:
        parts: directories that are needed, such as `trials`.

    Raises:
        RunDirectoryError, RemoteError: if no search was started there.
    """
    if not is_url(place):
        yield _checked(place, RunDirectory(place), existing=True)
        return
    with TemporaryDirectory(prefix="nasfpn-") as temporary:
        run = RunDirectory(temporary)
        remote = Remote(place)
        _require_search(place, remote)
        with reachable(place):
            _download(remote, run.path, parts)
            beat = read_beat(remote)
        if beat is None or not beat.is_fresh():
            yield run
            return
        with FileLock(run.path / "search.lock"):  # what is live there is live here
            yield run


def publish(place: str, run: RunDirectory, directory: Path) -> None:
    """Upload a directory in a fetched run directory to where that came from."""
    if is_url(place):
        remote = Remote(place)
        with reachable(place):
            for path in sorted(directory.rglob("*")):
                if path.is_file():
                    remote.upload(path.relative_to(run.path).as_posix(), path)


def fetch(place: str, run: RunDirectory, path: Path) -> None:
    """Download one more file of a fetched run directory, if the URL has it.

    Raises:
        RemoteError: if the URL cannot be read.
    """
    if is_url(place):
        with reachable(place), suppress(FileNotFoundError):
            Remote(place).download(path.relative_to(run.path).as_posix(), path)


def trials_with_weights(place: str, run: RunDirectory) -> set[int]:
    """Numbers of the trials whose weights were kept, at the URL if the run directory is a copy without them.

    Raises:
        RemoteError: if the URL cannot be read.
    """
    if run.trials.is_dir() or not is_url(place):
        names = [path.relative_to(run.path).as_posix() for path in run.trials.glob(f"*/*{WEIGHTS}")]
    else:
        with reachable(place):
            names = [name for name in Remote(place).files() if name.endswith(WEIGHTS)]
    parts = [name.split("/") for name in names]
    return {int(part[1]) for part in parts if part[0] == run.trials.name and part[1].isdecimal()}


def shown(place: str, run: RunDirectory, path: Path | None = None) -> str:
    """Name of the run directory of a place, or of something in it, for messages to the user."""
    path = path or run.path
    if not is_url(place):
        return str(path)
    return "/".join((without_credentials(place).rstrip("/"), *path.relative_to(run.path).parts))


@contextmanager
def mirrored(url: str) -> Iterator[Path]:
    """A directory on this machine, the same every time, with the run at a URL; changes go there until the end.

    The URL is the truth: a search may have gone on there from another machine. Only if the journal here begins with all
    of the journal there, what is here is taken; so what could not be uploaded is, after all, by the next start. An
    upload happens every `heartbeat.ROUND_SECONDS`; a killed machine loses that much.

    A search that runs on the URL elsewhere is noticed by its heartbeat. Nothing is locked there: two searches that
    start within the same second may both begin, and one ends in its first round. One that could not reach the URL for
    `heartbeat.DEAD_ROUNDS` counts as dead; it ends when it reaches it again, and has overwritten nothing.

    Raises:
        MirrorError, RemoteError: if a search runs there, the URL cannot be used or holds other things; at the end, if
            not all could be uploaded.
    """
    staging = Staging(staging_path(url), without_credentials(url))
    remote = Remote(url)
    with staging.claim():
        mirror = Mirror(url, remote, staging)
        try:
            with reachable(url):
                mirror.enter()
            with mirror.running():
                yield staging.path
        finally:
            mirror.leave()


def _checked(place: str, run: RunDirectory, existing: bool) -> RunDirectory:
    search, number = split_name(place)
    if number is not None:
        raise RunDirectoryError(f"{place} is trial {number} of a search; this command takes the search: {search}")
    if existing:
        run.require()
    return run


def _require_search(place: str, remote: Remote) -> None:
    with reachable(place):
        found = remote.size(CONFIG) is not None
    if not found:
        raise RemoteError(
            f"{without_credentials(place)} holds no search; start one with: nasfpn search ... --run-dir URL (one that "
            "has just begun is seen after some seconds)"
        )


def _download(remote: Remote, target: Path, parts: tuple[str, ...]) -> None:
    """The journal first, so that what it speaks of is there; what a live search deletes meanwhile is left out."""
    wanted = [name for name in remote.files() if name.startswith(tuple(f"{part}/" for part in parts))]
    for name in (CONFIG, JOURNAL, *wanted):
        with suppress(FileNotFoundError):
            remote.download(name, target / name)
