"""Archives of data sets on real disks: unpacked once, by several processes, after kills, and never outside."""

from __future__ import annotations

import io
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest

from nas.data.archive import absolute, open_root
from nas.data.check import check_data
from nas.data.coco import open_splits
from nas.data.config import DataConfig, DataError, SignsConfig
from tests.support.damage import torn

PATIENCE_SECONDS = 240
"""For what takes a second or two where the machine has nothing else to do."""
FORMATS = {".tar": "tar", ".tar.gz": "gztar", ".tar.bz2": "bztar", ".tar.xz": "xztar", ".zip": "zip"}

OPEN = """
import os
import sys
import time
from pathlib import Path
from nas.data import archive
from nas.data.config import DataConfig

def told(source, target, name):
    print("unpacking", flush=True)
    {body}

whole, archive.{name} = archive.{name}, told
Path(sys.argv[2] + f".{{os.getpid()}}.opening").touch()
archive.open_root(DataConfig(root=sys.argv[1], archive=sys.argv[2]))
"""


def pack(directory: Path, target: Path, ending: str, *, in_folder: bool = False) -> str:
    base, inside = (directory.parent, directory.name) if in_folder else (directory, ".")
    return shutil.make_archive(str(target), FORMATS[ending], base, inside)


def packed(coco_files: Any, tmp_path: Path, ending: str = ".tar.gz", **options: bool) -> DataConfig:
    coco_files.all()
    archive = pack(coco_files.root, tmp_path / "set", ending, **options)
    return DataConfig(root=str(tmp_path / "there" / "set"), archive=archive)


def start(config: DataConfig, body: str) -> subprocess.Popen[str]:
    """A process that says when it begins to unpack a tar, and does it as told."""
    code = OPEN.format(name="_unpack_tar", body=body)
    command = [sys.executable, "-c", code, config.root, str(config.archive)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def left_over(config: DataConfig) -> list[str]:
    root = Path(config.root)
    return sorted(path.name for path in root.parent.iterdir() if path.name not in (root.name, f".{root.name}.lock"))


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("in_folder", [False, True])
def test_every_format_opens_as_the_directory_does(coco_files, tmp_path, ending, in_folder):
    config = packed(coco_files, tmp_path, ending, in_folder=in_folder)
    splits = open_splits(config)
    assert len(splits.train) == 3
    assert splits.train[0][0].equal(open_splits(coco_files.config()).train[0][0])
    assert check_data(config, full=True) == []
    assert left_over(config) == []


def test_what_is_unpacked_already_needs_no_archive(coco_files, tmp_path):
    config = packed(coco_files, tmp_path)
    open_root(config)
    Path(str(config.archive)).unlink()
    assert len(open_splits(config).train) == 3


def test_an_empty_directory_is_filled_and_another_one_left_alone(coco_files, tmp_path):
    config = packed(coco_files, tmp_path)
    root = Path(config.root)
    root.mkdir(parents=True)
    assert (open_root(config) / "train").is_dir()
    shutil.rmtree(root)
    root.mkdir()
    (root / "mine.txt").touch()
    with pytest.raises(DataError, match="cannot be read"):
        open_splits(config)
    assert [path.name for path in root.iterdir()] == ["mine.txt"]


def test_a_url_is_an_archive_too(coco_files, tmp_path):
    config = packed(coco_files, tmp_path)
    fsspec.filesystem("memory").pipe_file("/bucket/set.tar.gz", Path(str(config.archive)).read_bytes())
    there = DataConfig(root=config.root, archive="memory://bucket/set.tar.gz")
    assert len(open_splits(there).train) == 3
    assert absolute(there).archive == there.archive
    assert absolute(DataConfig(root="a", archive="b.zip")) == DataConfig(
        root=str(Path("a").resolve()), archive=str(Path("b.zip").resolve())
    )


def test_two_processes_at_once_unpack_once(coco_files, tmp_path):
    config = packed(coco_files, tmp_path)
    waits = "while len(list(Path(sys.argv[2]).parent.glob('*.opening'))) < 2: time.sleep(0.01)"
    body = f"{waits}\n    whole(source, target, name)"
    processes = [start(config, body) for _ in range(2)]
    said = [process.communicate(timeout=PATIENCE_SECONDS)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert "".join(said).count("unpacking") == 1
    assert len(open_splits(config).train) == 3
    assert left_over(config) == []


def test_killed_in_the_middle_the_next_one_starts_anew(coco_files, tmp_path):
    config = packed(coco_files, tmp_path)
    body = f"(target / 'half').write_text('x'); print('half', flush=True); time.sleep({PATIENCE_SECONDS})"
    process = start(config, body)
    assert process.stdout is not None
    assert any("half" in line for line in process.stdout)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not Path(config.root).exists()
    assert left_over(config) != []
    assert len(open_splits(config).train) == 3
    assert not (Path(config.root) / "half").exists()
    assert left_over(config) == []


def evil_tar(path: Path, *, name: str, link: str | None = None) -> None:
    with tarfile.open(path, "w:gz") as file:
        member = tarfile.TarInfo(name)
        if link is not None:
            member.type, member.linkname = tarfile.SYMTYPE, link
        member.size = 0 if link else 1
        file.addfile(member, None if link else io.BytesIO(b"x"))


@pytest.mark.parametrize(
    "member", [{"name": "../evil"}, {"name": "train/../../evil"}, {"name": "here", "link": "/etc/passwd"}]
)
def test_members_of_a_tar_that_would_leave_the_directory_are_refused(tmp_path, member):
    evil_tar(tmp_path / "evil.tar.gz", **member)
    config = DataConfig(root=str(tmp_path / "there" / "set"), archive=str(tmp_path / "evil.tar.gz"))
    with pytest.raises(DataError, match=r"evil\.tar\.gz was refused on .*inside the data set's directory"):
        open_root(config)
    assert not list(tmp_path.rglob("evil"))
    assert not Path(config.root).exists()
    assert left_over(config) == []


@pytest.mark.parametrize("name", ["../evil", "train/../../evil", "/evil", "..\\evil"])
def test_members_of_a_zip_that_would_leave_the_directory_are_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as file:
        file.writestr(name, "x")
    config = DataConfig(root=str(tmp_path / "there" / "set"), archive=str(tmp_path / "evil.zip"))
    with pytest.raises(DataError, match="was refused"):
        open_root(config)
    assert left_over(config) == []


def refusal(config: DataConfig) -> str:
    """What the search says, which the check says too."""
    with pytest.raises(DataError) as caught:
        open_splits(config)
    assert [problem.message for problem in check_data(config)] == [str(caught.value)]
    assert "\n" not in str(caught.value)
    assert platform.node() in str(caught.value)
    return str(caught.value)


def test_a_data_set_that_this_machine_lacks_is_told_with_its_name(tmp_path):
    message = refusal(DataConfig(root=str(tmp_path / "none")))
    assert "make the path visible on every node, or set data.archive" in message


@pytest.mark.parametrize("archive", ["none.tar.gz", "none.zip", "memory://none/set.tar", "nosuch://bucket/set.tar"])
def test_an_archive_that_is_not_there(tmp_path, monkeypatch, archive):
    monkeypatch.chdir(tmp_path)
    message = refusal(DataConfig(root=str(tmp_path / "set"), archive=archive))
    assert f"the archive {archive} cannot be opened" in message
    assert left_over(DataConfig(root=str(tmp_path / "set"))) == []


@pytest.mark.parametrize("ending", [".tar.gz", ".tar", ".zip"])
def test_half_an_archive_and_something_else_by_that_name(coco_files, tmp_path, ending):
    config = packed(coco_files, tmp_path, ending)
    archive = Path(str(config.archive))
    whole = archive.read_bytes()
    for content in (whole[: len(whole) // 2], b"<html>404</html>", b""):
        archive.write_bytes(content)
        assert "copy it again" in refusal(config) or content == b""
        assert not Path(config.root).exists()


def test_an_archive_without_annotations(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.txt").touch()
    archive = pack(tmp_path / "pictures", tmp_path / "set", ".tar.gz")
    message = refusal(DataConfig(root=str(tmp_path / "set"), archive=archive))
    assert f"{archive} has no annotations/instances_train.json" in message
    assert not (tmp_path / "set").exists()


def test_a_place_that_cannot_be_written(coco_files, tmp_path):
    config = packed(coco_files, tmp_path)
    (tmp_path / "file").touch()
    message = refusal(DataConfig(root=str(tmp_path / "file" / "set"), archive=config.archive))
    assert "cannot be unpacked" in message


def test_embedded_and_archive_exclude_each_other():
    with pytest.raises(ValueError, match="either embedded or comes in an archive"):
        DataConfig(root="x", embedded=SignsConfig(), archive="x.tar")


def bomb(path: Path, mib: int) -> DataConfig:
    """An archive of zeros, a thousand times smaller than what it unpacks to."""
    zeros = path.parent / "zeros"
    zeros.write_bytes(bytes(mib * 2**20))
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.write(zeros, "train/zeros")
    else:
        with tarfile.open(path, "w:gz") as file:
            file.add(zeros, "train/zeros")
    zeros.unlink()
    return DataConfig(root=str(path.parent / "there" / "set"), archive=str(path))


@pytest.mark.parametrize("name", ["set.zip", "set.tar.gz"])
def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.setattr("nas.data.archive.LEAST_BOUND", 2**22)
    config = bomb(tmp_path / name, 16)
    assert Path(str(config.archive)).stat().st_size < 2**15
    message = refusal(config)
    assert "unpacks to more than 0.00391 GiB" in message
    assert "set data.max_unpacked_gib" in message
    assert left_over(config) == []


@pytest.mark.parametrize("name", ["set.zip", "set.tar.gz"])
def test_the_bound_is_a_setting(tmp_path, name):
    config = bomb(tmp_path / name, 16)
    assert "unpacks to more than 0.001 GiB" in refusal(replace(config, max_unpacked_gib=0.001))
    assert "has no annotations" in refusal(replace(config, max_unpacked_gib=0.1))


def test_a_multitude_of_empty_files_counts(tmp_path):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as file:
        for number in range(300):
            file.writestr(f"{number}", "")
    config = DataConfig(root=str(tmp_path / "there" / "set"), archive=str(tmp_path / "set.zip"), max_unpacked_gib=0.001)
    assert "unpacks to more than 0.001 GiB" in refusal(config)


def test_a_long_header_of_a_tar_is_not_read(tmp_path):
    with tarfile.open(tmp_path / "set.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as file:
        member = tarfile.TarInfo("a")
        member.pax_headers = {"comment": "x" * 2**21}
        file.addfile(member)
    config = DataConfig(root=str(tmp_path / "there" / "set"), archive=str(tmp_path / "set.tar.gz"))
    assert "a header of 2,097,1" in refusal(config)


def test_an_encrypted_zip_is_told(coco_files, tmp_path):
    config = packed(coco_files, tmp_path, ".zip")
    path = Path(str(config.archive))
    raw = bytearray(path.read_bytes())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = raw.find(mark)
        while start >= 0:
            raw[start + flags] |= 1
            start = raw.find(mark, start + 4)
    path.write_bytes(raw)
    message = refusal(config)
    assert "is encrypted" in message
    assert "not encrypted: copy it again" in message
    assert left_over(config) == []


@pytest.mark.parametrize("ending", FORMATS)
def test_archives_damaged_anywhere_are_read_or_refused_in_a_line(coco_files, tmp_path, ending):
    config = packed(coco_files, tmp_path, ending)
    path = Path(str(config.archive))
    whole = path.read_bytes()
    for seed in range(40):
        path.write_bytes(torn(whole, random.Random(seed)))
        shutil.rmtree(config.root, ignore_errors=True)
        assert all("\n" not in str(problem) for problem in check_data(config))
        assert not Path(config.root).parent.exists() or left_over(config) == []


@pytest.mark.timeout(10)
def test_a_pipe_and_a_directory_are_no_archives(tmp_path):
    os.mkfifo(tmp_path / "pipe.tar")
    (tmp_path / "directory.zip").mkdir()
    for name in ("pipe.tar", "directory.zip"):
        with pytest.raises(DataError, match="not a plain file"):
            open_root(DataConfig(root=str(tmp_path / "there" / "set"), archive=str(tmp_path / name)))


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_and_pipes_in_a_tar_are_refused(tmp_path, kind):
    with tarfile.open(tmp_path / "evil.tar.gz", "w:gz") as file:
        member = tarfile.TarInfo("evil")
        member.type = kind
        file.addfile(member)
    config = DataConfig(root=str(tmp_path / "there" / "set"), archive=str(tmp_path / "evil.tar.gz"))
    assert "was refused" in refusal(config)
