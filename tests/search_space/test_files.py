"""Readers of files that others wrote: content, or one line with the file's name."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from search_space.files import MAX_RECORD_BYTES, FileError, is_there, parse_json, plain_size, read_bytes, read_json


class OwnError(ValueError):
    """An error of whoever reads."""


def test_an_object_is_read(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"a": [1, -2.5, null, true, "\u00e9"], "b": {"c": 18446744073709551615}}', encoding="utf-8")
    assert read_json(path) == json.loads(path.read_bytes())
    (tmp_path / "link").symlink_to(path)
    assert read_json(tmp_path / "link") == read_json(path)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "not valid JSON"),
        (b"{", "cut off"),
        (b'{"a": {"b": 1, "b": 2}}', "an object has a field twice"),
        (b"[1, 2]", "must hold a JSON object, but holds a list"),
        (b"null", "holds null"),
        (b"true", "holds true or false"),
        (b"3.5", "holds a number"),
        (b'"x"', "holds a text"),
        ("{}".encode("utf-16"), "UTF-16; save it as UTF-8"),
        ("{}".encode("utf-32"), "UTF-32; save it as UTF-8"),
        ("{}".encode("utf-8-sig"), "with a byte order mark; save it as UTF-8 without"),
        (b'{"\xe9": 1}', "is not UTF-8 text .byte 2 is 0xe9."),
        (b"[" * 100_000 + b"]" * 100_000, "inside each other"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "more than 64 lists and objects inside each other"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "a whole number of 5000 digits"),
        (b'{"a": -' + b"9" * 21 + b"}", "a whole number of 22 digits"),
        (b'{"a": [NaN]}', "not finite"),
        (b'{"a": -Infinity}', "not finite"),
        (b'{"a": 1e999}', "not finite"),
        (b'{"a": "\\ud83d"}', "half a character"),
        (b'{"\\ud83d": 1}', "half a character"),
    ],
)
def test_what_is_no_object_is_told_in_a_line(tmp_path, raw, message):
    path = tmp_path / "a.json"
    path.write_bytes(raw)
    with pytest.raises(OwnError, match=message) as caught:
        read_json(path, OwnError)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def make_nothing(path: Path) -> None:
    pass


def make_loop(path: Path) -> None:
    path.symlink_to(path.name)


def make_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (make_nothing, "No such file"),
        (Path.mkdir, "a directory, not a plain file"),
        (os.mkfifo, "a pipe, a socket or a device"),
        (make_device, "a pipe, a socket or a device"),
        (make_loop, "symbolic links"),
    ],
)
def test_what_is_no_plain_file_is_not_opened(tmp_path, make, message):
    path = tmp_path / "a"
    make(path)
    for read in (read_bytes, plain_size, read_json):
        with pytest.raises(FileError, match=message):
            read(path)


@pytest.mark.parametrize("name", ["a" * 5_000, "a\0b"])
def test_names_that_no_file_can_have(tmp_path, name):
    assert not is_there(tmp_path / name)
    with pytest.raises(FileError, match="cannot be read"):
        read_bytes(tmp_path / name)


def test_a_record_of_gigabytes_is_not_read(tmp_path):
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(MAX_RECORD_BYTES + 1)
    with pytest.raises(FileError, match=r"at most 16,777,216 are read"):
        read_json(tmp_path / "a.json")


def test_numbers_of_data_may_be_infinite():
    assert parse_json(b"[Infinity]", "x") == [float("inf")]
