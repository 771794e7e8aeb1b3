"""Data sets that come as an archive: unpacked where they are needed, once per machine."""

from __future__ import annotations

import platform
import shutil
import tarfile
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import IO

import fsspec
from filelock import FileLock

from nas.credentials import reason, without_credentials
from nas.data.config import DataConfig, DataError
from nas.data.signs import make_signs


def open_root(config: DataConfig) -> Path:
    """The data set's directory on this machine, after making or unpacking it where the configuration asks for that.

    Raises:
        DataError: if it is not there; the message names this machine.
    """
    root = Path(config.root)
    if config.embedded is not None:
        make_signs(root, config.embedded)
    if config.archive is not None:
        _unpack_once(config.archive, root, config.train.annotations)
    if not root.is_dir():
        raise DataError(
            f"the data set's root {root} is not a directory on {platform.node()}; make the path visible on every node, "
            "or set data.archive to an archive that each unpacks; then run `nasfpn data check`"
        )
    return root


def absolute(config: DataConfig) -> DataConfig:
    """The same data for processes that run in another directory."""
    archive = config.archive
    if archive is not None and "://" not in archive:
        archive = str(Path(archive).resolve())
    return replace(config, root=str(Path(config.root).resolve()), archive=archive)


def _unpack_once(archive: str, root: Path, annotations: str) -> None:
    """Of several processes one unpacks while the others wait; what a killed one left is removed."""
    if _is_there(root):
        return
    partial = root.with_name(f".{root.name}.unpacking")
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(root.with_name(f".{root.name}.lock")):
            if _is_there(root):
                return
            shutil.rmtree(partial, ignore_errors=True)
            try:
                _unpack(archive, partial)
                _data_directory(partial, annotations, archive).rename(root)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"{_name(archive)} cannot be unpacked into {root} on {platform.node()}: {error}; make room there and "
            "the directory beside it writable, or set data.root to another path"
        ) from error


def _is_there(root: Path) -> bool:
    return root.exists() and not (root.is_dir() and not any(root.iterdir()))


def _unpack(archive: str, target: Path) -> None:
    try:
        stream = fsspec.open(archive, "rb").open()
    except Exception as error:  # every file system and every missing package has errors of its own
        raise DataError(
            f"{_name(archive)} cannot be opened on {platform.node()}: {reason(error, archive)}; set data.archive to a "
            "path that every node sees or to a URL that all of them may read"
        ) from error
    target.mkdir()
    try:
        with stream:
            if archive.endswith(".zip"):
                _unpack_zip(stream, target, archive)
            else:
                _unpack_tar(stream, target, archive)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(
            f"{_name(archive)} cannot be read on {platform.node()}: {error}; it must be a whole .zip or .tar, "
            ".tar.gz, .tar.bz2, .tar.xz (from Python 3.14 on .tar.zst, too): copy it again"
        ) from error


def _unpack_tar(stream: IO[bytes], target: Path, archive: str) -> None:
    try:
        with tarfile.open(fileobj=stream, mode="r|*") as file:
            file.extractall(target, filter="data")
    except tarfile.FilterError as error:
        raise _evil(archive, str(error)) from error


def _unpack_zip(stream: IO[bytes], target: Path, archive: str) -> None:
    with zipfile.ZipFile(stream) as file:
        for name in file.namelist():
            path = PurePosixPath(name.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts:
                raise _evil(archive, f"{name!r} would be outside of the destination")
        file.extractall(target)


def _name(archive: str) -> str:
    return f"the archive {without_credentials(archive)}"


def _evil(archive: str, why: str) -> DataError:
    return DataError(
        f"{_name(archive)} was refused on {platform.node()}: {why}; make it anew with paths inside the data "
        "set's directory only"
    )


def _data_directory(unpacked: Path, annotations: str, archive: str) -> Path:
    """Where the data set is in what was unpacked: at the top, or in the only directory there."""
    entries = list(unpacked.iterdir())
    for directory in (unpacked, *entries[: len(entries) == 1]):
        if (directory / annotations).is_file():
            return directory
    raise DataError(
        f"{_name(archive)} has no {annotations}, on {platform.node()}: pack the data set's directory, or its "
        "content; where its splits are is set in data.train, data.reward and data.test"
    )
