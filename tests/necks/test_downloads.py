"""Exported necks at URLs: copied once for each version, nothing but their files, no code run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest
import torch

from necks import build_neck, load_exported, save_exported
from necks.downloads import download, without_secrets
from necks.exported import ExportedError

NAMES = ("neck.json", "neck.safetensors", "genotype.json")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    memory = fsspec.filesystem("memory")
    yield tmp_path / "cache"
    memory.store.clear()


def exported(directory, seed=0):
    torch.manual_seed(seed)
    neck = build_neck("fpn", in_channels=(4, 6, 8), out_channels=8).eval()
    save_exported(neck, directory)
    return neck


def put(directory, url):
    files, root = fsspec.core.url_to_fs(url)
    for path in directory.iterdir():
        files.pipe_file(f"{root}/{path.name}", path.read_bytes())


def assert_same(one, other):
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])


def test_a_neck_at_a_url_is_that_in_the_directory(tmp_path):
    neck = exported(tmp_path / "neck")
    (tmp_path / "neck" / "neck.py").write_text("raise SystemExit('run')")
    put(tmp_path / "neck", "memory://hub/user/model")
    for url in ("memory://hub/user/model", "memory://hub/user/model/", (tmp_path / "neck").as_uri()):
        assert_same(load_exported(url), neck)


def test_nothing_but_the_files_of_an_export_is_copied(tmp_path, cache):
    exported(tmp_path / "neck")
    for name in ("neck.py", "README.md", "weights.pt"):
        (tmp_path / "neck" / name).write_text("anything")
    put(tmp_path / "neck", "memory://hub/model")
    load_exported("memory://hub/model")
    assert {path.name for path in cache.rglob("*") if path.is_file()} == {*NAMES, ".versions.json"}


def test_a_file_is_copied_again_only_when_it_changed(tmp_path, monkeypatch):
    exported(tmp_path / "neck")
    put(tmp_path / "neck", "memory://hub/model")
    files = type(fsspec.filesystem("memory"))
    copied, copy = [], files.get_file
    monkeypatch.setattr(
        files,
        "get_file",
        lambda self, place, *args, **rest: copied.append(Path(place).name) or copy(self, place, *args, **rest),
    )
    load_exported("memory://hub/model")
    assert sorted(copied) == sorted(NAMES)
    copied.clear()
    load_exported("memory://hub/model")
    assert copied == []
    newer = exported(tmp_path / "neck", seed=1)
    put(tmp_path / "neck", "memory://hub/model")
    assert_same(load_exported("memory://hub/model"), newer)
    assert sorted(copied) == sorted(NAMES)


def test_a_file_system_that_tells_no_versions_is_asked_every_time(tmp_path, monkeypatch):
    exported(tmp_path / "neck")
    put(tmp_path / "neck", "memory://hub/model")
    files = type(fsspec.filesystem("memory"))
    info = files.info
    monkeypatch.setattr(
        files, "info", lambda self, place, **rest: {k: v for k, v in info(self, place).items() if k != "created"}
    )
    load_exported("memory://hub/model")
    newer = exported(tmp_path / "neck", seed=1)
    put(tmp_path / "neck", "memory://hub/model")
    assert_same(load_exported("memory://hub/model"), newer)


def test_a_file_that_is_gone_there_is_gone_here(tmp_path):
    exported(tmp_path / "neck")
    put(tmp_path / "neck", "memory://hub/model")
    load_exported("memory://hub/model")
    fsspec.filesystem("memory").rm("/hub/model/neck.safetensors")
    with pytest.raises(ExportedError, match=r"memory://hub/model is not an exported neck: neck.safetensors missing"):
        load_exported("memory://hub/model")


def test_a_url_without_an_export_leaves_no_directory(cache):
    with pytest.raises(
        ExportedError, match=r"memory://nothing is not an exported neck: neck.json, neck.safetensors missing"
    ):
        load_exported("memory://nothing")
    assert not cache.exists()


def test_large_json_is_not_copied(monkeypatch):
    monkeypatch.setattr("necks.downloads.MAX_RECORD_BYTES", 10)
    fsspec.filesystem("memory").pipe_file("/hub/neck.json", b" " * 11)
    with pytest.raises(ExportedError, match=r"neck.json has 11 bytes, but at most 10 are read"):
        load_exported("memory://hub")


def test_code_that_a_downloaded_neck_names_is_not_run(tmp_path, monkeypatch):
    """Neither a module that can be imported nor a file that comes with the neck."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("evil_module.py", "evil.py"):
        (tmp_path / name).write_text("raise SystemExit('run')")
    exported(tmp_path / "neck")
    (tmp_path / "neck" / "evil.py").write_text("raise SystemExit('run')")
    path = tmp_path / "neck" / "neck.json"
    plain = json.loads(path.read_text())
    for reference in ("evil_module:merge", "evil.py:merge"):
        for data in ({**plain, "kind": reference}, {**plain, "genotype": _merged_by(plain["genotype"], reference)}):
            path.write_text(json.dumps(data))
            (tmp_path / "neck" / "genotype.json").write_text(json.dumps(data["genotype"]))
            put(tmp_path / "neck", "memory://hub/model")
            with pytest.raises(ExportedError, match="code that is not trusted"):
                load_exported("memory://hub/model")


def _merged_by(genotype, reference):
    return {**genotype, "cells": [{**cell, "merge": reference} for cell in genotype["cells"]]}


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nosuch://a/b", r"nosuch://a/b cannot be used \(ValueError: Protocol not known: nosuch\)"),
        (
            "http://user:secret@127.0.0.1:9/a?token=secret",
            r"http://127.0.0.1:9/a is not an exported neck: .* missing; check the URL and the network",
        ),
    ],
)
def test_a_url_that_cannot_be_used_is_one_line_without_its_password(url, message):
    with pytest.raises(ExportedError) as raised:
        load_exported(url)
    assert re.match(message, str(raised.value))
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_urls_are_shown_without_user_and_query():
    assert without_secrets("hf://user/model@main/neck") == "hf://user/model@main/neck"
    assert without_secrets("https://me:pw@host:8/a@b?sig=x") == "https://host:8/a@b"


def test_fsspec_is_imported_for_urls_alone():
    code = "import sys, necks; print([name for name in sys.modules if name.partition('.')[0] in ('fsspec', 'nas')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_directory_of_a_url_is_the_same_every_time(tmp_path):
    exported(tmp_path / "neck")
    put(tmp_path / "neck", "memory://hub/model")
    first = download("memory://hub/model", NAMES)
    assert first == download("memory://hub/model/", NAMES)
    assert first.name.startswith("memory-hub-model-")
