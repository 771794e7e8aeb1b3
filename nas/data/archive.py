"""Data sets that come as an archive: unpacked where they are needed, once per machine."""

from __future__ import annotations

import lzma
import platform
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import IO, Self

import fsspec
from filelock import FileLock

from nas.credentials import reason, without_credentials
from nas.data.config import DataConfig, DataError
from nas.data.signs import make_signs
from search_space.files import is_there, plain_size

GIB = 2**30
LEAST_BOUND = GIB
MAX_RATIO = 20
"""Unpacked over packed size that is taken without asking: images hardly shrink, annotations by about ten times."""
BLOCK = 4096
"""Bytes that even an empty member counts as, since a disk keeps files in blocks."""
MAX_HEADER = 2**20
"""Bytes of a tar's header; the longest path of Linux has 4,096."""

_HEADER_TYPES = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)


def open_root(config: DataConfig) -> Path:
    """The data set's directory on this machine, after making or unpacking it where the configuration asks for that.

    Raises:
        DataError: if it is not there; the message names this machine.
    """
    root = Path(config.root)
    if config.embedded is not None:
        make_signs(root, config.embedded)
    if config.archive is not None:
        _unpack_once(config.archive, root, config)
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


def _unpack_once(archive: str, root: Path, config: DataConfig) -> None:
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
                _unpack(archive, partial, config.max_unpacked_gib)
                _data_directory(partial, config.train.annotations, archive).rename(root)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"{_name(archive)} cannot be unpacked into {root} on {platform.node()}: {error}; make room there and "
            "the directory beside it writable, or set data.root to another path"
        ) from error


def _is_there(root: Path) -> bool:
    return root.exists() and not (root.is_dir() and not any(root.iterdir()))


def _unpack(archive: str, target: Path, most_gib: float | None) -> None:
    if "://" not in archive and is_there(archive):
        plain_size(archive, DataError)
    try:
        stream = fsspec.open(archive, "rb").open()
    except Exception as error:  # every file system and every missing package has errors of its own
        raise DataError(
            f"{_name(archive)} cannot be opened on {platform.node()}: {reason(error, archive)}; set data.archive to a "
            "path that every node sees or to a URL that all of them may read"
        ) from error
    target.mkdir()
    budget = _Budget(archive, stream, most_gib)
    try:
        with stream:
            if archive.endswith(".zip"):
                _unpack_zip(stream, target, budget)
            else:
                _unpack_tar(stream, target, budget)
    except _BROKEN as error:
        raise DataError(
            f"{_name(archive)} cannot be read on {platform.node()}: {error or type(error).__name__}; it must be a "
            "whole .zip or .tar, .tar.gz, .tar.bz2, .tar.xz (from Python 3.14 on .tar.zst, too), not encrypted: copy "
            "it again"
        ) from error


_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    UnicodeError,
    RuntimeError,
    OverflowError,
)
"""Raised by the standard library for torn archives; RuntimeError and its NotImplementedError for encrypted members and
for ways of packing that it does not know."""


class _Budget:
    """Bytes that an archive may still unpack to.

    Args:
        most_gib: as `DataConfig.max_unpacked_gib`.
    """

    def __init__(self, archive: str, stream: IO[bytes], most_gib: float | None) -> None:
        self.archive = archive
        size = getattr(stream, "size", None) or 0
        self._most = max(LEAST_BOUND, MAX_RATIO * size) if most_gib is None else int(most_gib * GIB)
        self._spent = 0

    def spend(self, size: int) -> None:
        """Count a member.

        Raises:
            DataError: if the archive goes beyond its limit.
        """
        self._spent += max(size, BLOCK)
        if self._spent > self._most:
            raise DataError(
                f"the archive {self.archive} unpacks to more than {self._most / GIB:.3g} GiB and was refused on "
                f"{platform.node()}; where it is trusted, set data.max_unpacked_gib to what it needs"
            )


def _unpack_tar(stream: IO[bytes], target: Path, budget: _Budget) -> None:
    try:
        with tarfile.open(fileobj=stream, mode="r|*", tarinfo=_ShortHeaders) as file:
            file.extractall(target, members=_counted(file, budget), filter="data")
    except tarfile.FilterError as error:
        raise _evil(budget.archive, str(error)) from error


class _ShortHeaders(tarfile.TarInfo):
    """A member of a tar; its long names and the like, which are read into the memory, have a bound."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        found = super().frombuf(buf, encoding, errors)
        if found.type in _HEADER_TYPES and found.size > MAX_HEADER:
            raise tarfile.ReadError(f"a header of {found.size:,} bytes")
        return found


def _counted(file: tarfile.TarFile, budget: _Budget) -> Iterator[tarfile.TarInfo]:
    """The members, each counted before it is written."""
    for member in file:
        budget.spend(member.size)
        yield member


def _unpack_zip(stream: IO[bytes], target: Path, budget: _Budget) -> None:
    """Python's zipfile writes no more of a member than the directory of the archive says."""
    with zipfile.ZipFile(stream) as file:
        for member in file.infolist():
            path = PurePosixPath(member.filename.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts:
                raise _evil(budget.archive, f"{member.filename!r} would be outside of the destination")
            budget.spend(member.file_size)
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
