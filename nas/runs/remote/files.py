"""A directory at a URL, through fsspec: `s3://`, `gs://`, `sftp://`, `file://` and whatever else has a package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import fsspec.core

from nas.credentials import reason, without_credentials
from nas.errors import UserError

PARTIAL = ".partial"

_OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci"}
"""Here an object appears when all of it is there, and a move would be a copy; there are no directories to make."""


class RemoteError(UserError):
    """A URL that cannot be used as asked; the message says what to do."""


def is_url(place: str) -> bool:
    return "://" in place


class Remote:
    """Files by their names relative to the URL. A file that is written is seen whole or not at all.

    Object stores put whole objects. Elsewhere a file is written under a temporary name and moved; what a killed writer
    leaves of it ends in `.partial`, and `files` does not list it.

    What goes wrong later comes out as the file system raises it.

    Raises:
        RemoteError: if there is no file system for the URL.
    """

    def __init__(self, url: str) -> None:
        try:
            self._fs, root = fsspec.core.url_to_fs(url)
        except ImportError as error:
            raise RemoteError(
                f"{without_credentials(url)} needs another package ({reason(error, url)}): s3fs for s3://, gcsfs for "
                "gs://, adlfs for az://; install it with pip"
            ) from error
        except Exception as error:
            raise RemoteError(
                f"{without_credentials(url)} cannot be used: {reason(error, url)}; give a directory or a URL that "
                "fsspec knows, such as s3://BUCKET/DIRECTORY"
            ) from error
        self._root = root.rstrip("/")
        protocols = {self._fs.protocol} if isinstance(self._fs.protocol, str) else set(self._fs.protocol)
        self._puts_whole = bool(protocols & _OBJECT_STORES)

    def files(self) -> set[str]:
        """Names of all files, at any depth."""
        self._fs.invalidate_cache()
        try:
            found = self._fs.find(self._root)
        except FileNotFoundError:
            return set()
        names = {path.removeprefix(self._root).lstrip("/") for path in found}
        return {name for name in names if name and not name.endswith(PARTIAL)}

    def size(self, name: str) -> int | None:
        """In bytes; None if there is no such file."""
        self._fs.invalidate_cache()
        try:
            return int(self._fs.info(self._path(name))["size"])
        except FileNotFoundError:
            return None

    def read(self, name: str) -> bytes | None:
        """None if there is no such file."""
        try:
            return bytes(self._fs.cat_file(self._path(name)))
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        with self._whole(name) as path:
            self._fs.pipe_file(path, content)

    def upload(self, name: str, source: Path) -> None:
        with self._whole(name) as path:
            self._fs.put_file(str(source), path)

    def download(self, name: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        self._fs.get_file(self._path(name), str(target))

    def remove(self, name: str) -> None:
        """It need not be there."""
        try:
            self._fs.rm_file(self._path(name))
        except FileNotFoundError:
            return

    @contextmanager
    def _whole(self, name: str) -> Iterator[str]:
        """Where to write a file so that nobody sees half of it."""
        path = self._path(name)
        if self._puts_whole:
            yield path
            return
        self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        partial = f"{path}-{uuid4().hex[:8]}{PARTIAL}"
        yield partial
        self._fs.mv(partial, path)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


@contextmanager
def reachable(url: str) -> Iterator[None]:
    """
    Raises:
        RemoteError: for what the file system raises within.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise RemoteError(
            f"{without_credentials(url)} cannot be used: {reason(error, url)}; check the URL, the network and your "
            "credentials"
        ) from error
