"""Files that are there whole or not at all."""

from __future__ import annotations

import os

import pytest

from nas.atomic_write import atomic_write


def test_text_and_bytes_take_the_place_of_what_was_there(tmp_path):
    path = tmp_path / "state.json"
    path.write_text("older and much longer")
    atomic_write(path, "ä\n")
    assert path.read_bytes() == "ä\n".encode()
    atomic_write(path, b"\x00\n")
    assert path.read_bytes() == b"\x00\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.json"]


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_older_file(tmp_path, monkeypatch, broken):
    path = tmp_path / "state.json"
    path.write_text("older")

    def fail(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(OSError, match="No space left"):
        atomic_write(path, "newer")
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "older"


def test_what_was_written_is_on_the_disk_before_it_has_the_name(tmp_path, monkeypatch):
    path = tmp_path / "state.json"
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(path.exists()))
    atomic_write(path, "new")
    assert synced == [False]
