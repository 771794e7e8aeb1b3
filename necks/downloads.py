"""Copies of files at URLs, through fsspec: `hf://`, `s3://`, `gs://`, `https://` and whatever else has a package."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from search_space.caches import cache_path
from search_space.files import MAX_RECORD_BYTES, FileError

STATE = ".versions.json"
VERSIONED = {
    *("mtime", "created", "ETag", "etag", "LastModified", "last_modified", "updated", "Last-Modified"),
    *("blob_id", "sha", "md5Hash", "content_md5", "generation"),
}
"""Fields by which file systems tell one version of a file from another; a file without any is copied every time."""


def is_url(place: str | Path) -> bool:
    return isinstance(place, str) and "://" in place


def without_secrets(url: str) -> str:
    """A URL without user, password and query."""
    scheme, _, rest = url.partition("?")[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def download(url: str, names: Sequence[str]) -> Path:
    """A directory in the user's cache with those of the files that are at the URL. Nothing else is copied.

    What is there already in the same version is not copied again.

    Args:
        url: of the directory that holds them.
        names: of the files.

    Raises:
        Exception: whatever fsspec and the file system raise for a URL that cannot be used.
        FileError: for JSON that is too large.
    """
    import fsspec.core

    files, root = fsspec.core.url_to_fs(url)
    files.invalidate_cache()
    directory = cache_path("exports", url, without_secrets(url))
    kept = _state(directory)
    kept |= dict(_refreshed(files, root.rstrip("/"), names, directory, kept))
    if directory.is_dir():
        partial = _partial(directory / STATE)
        partial.write_text(json.dumps(kept))
        partial.replace(directory / STATE)
    return directory


def _refreshed(
    files: Any, root: str, names: Sequence[str], directory: Path, kept: Mapping[str, str | None]
) -> Iterator[tuple[str, str | None]]:
    """Name and version of each file after it was copied, or removed where it is not at the URL."""
    for name in names:
        place, target = f"{root}/{name}", directory / name
        try:
            info = files.info(place)
        except FileNotFoundError:
            target.unlink(missing_ok=True)
            yield name, None
            continue
        version = _version(info)
        if version is None or version != kept.get(name) or not target.is_file():
            if name.endswith(".json") and (info.get("size") or 0) > MAX_RECORD_BYTES:
                raise FileError(f"{name} has {info['size']:,} bytes, but at most {MAX_RECORD_BYTES:,} are read")
            directory.mkdir(parents=True, exist_ok=True)
            partial = _partial(target)
            files.get_file(place, str(partial))
            partial.replace(target)
        yield name, version


def _version(info: Mapping[str, Any]) -> str | None:
    fields = {key: str(value) for key, value in info.items() if key in VERSIONED and value is not None}
    if not fields:
        return None
    return hashlib.sha256(repr(sorted({**fields, "size": str(info.get("size"))}.items())).encode()).hexdigest()


def _state(directory: Path) -> dict[str, str | None]:
    try:
        state = json.loads((directory / STATE).read_bytes())
    except (OSError, ValueError):
        return {}
    return dict(state) if isinstance(state, dict) else {}


def _partial(target: Path) -> Path:
    return target.with_name(f".{target.name}-{os.getpid()}-{uuid4().hex[:8]}.partial")
