"""Commands that take an export or a detector take its URL."""

from __future__ import annotations

import json

import fsspec
import numpy as np
import pytest
import torch
from PIL import Image

from nas.commands.find_neck import find_neck
from nas.runs.remote.exports import local_export
from nas.runs.remote.files import RemoteError
from nas.training.config import TrainNeckConfig
from nas.training.model import _build
from necks import build_neck, load_exported, save_exported
from tests.support.busy_detector import SIDE, save_busy_detector


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield
    fsspec.filesystem("memory").store.clear()


def put(directory, url):
    files, root = fsspec.core.url_to_fs(url)
    for path in directory.iterdir():
        files.pipe_file(f"{root}/{path.name}", path.read_bytes())


@pytest.fixture
def neck(tmp_path):
    made = build_neck("nas_fpn", in_channels=(4, 6, 8), out_channels=8).eval()
    save_exported(made, tmp_path / "neck")
    put(tmp_path / "neck", "memory://hub/neck")
    return made


@pytest.fixture
def detector(tmp_path):
    save_busy_detector(tmp_path / "detector")
    put(tmp_path / "detector", "memory://hub/detector")


def test_a_neck_is_described_and_exported(neck, tmp_path, in_process):
    code, shown, errors = in_process("describe", "memory://hub/neck")
    assert (code, errors) == (0, "")
    assert "neck alone, on maps with (4, 6, 8) channels" in shown
    code, shown, errors = in_process("export", "memory://hub/neck", "--output", tmp_path / "out", "--format", "python")
    assert (code, errors) == (0, "")
    assert (tmp_path / "out" / "neck.py").is_file()
    assert "exported neck `memory://hub/neck`" in (tmp_path / "out" / "README.md").read_text()
    for name, value in load_exported(tmp_path / "out").state_dict().items():
        assert torch.equal(value, neck.state_dict()[name])


@pytest.mark.parametrize("url", ["memory://hub/neck", "memory://hub/neck/genotype.json"])
def test_a_training_takes_the_topology(neck, url):
    assert find_neck(url).topology == neck.genotype
    built = _build(TrainNeckConfig(name=url, channels=16), (8, 16, 32), (3, 4, 5))
    assert built.genotype == neck.genotype
    assert built.out_channels == 16


def test_a_training_command_takes_a_url(neck, tmp_path, in_process, monkeypatch):
    """What is wrong with its data is told after its neck was found."""
    monkeypatch.chdir(tmp_path)
    experiment = "tests.support.tiny_training:train"
    command = ["train", experiment, "--run-dir", "run", "--set", "data.embedded=null"]
    code, _, errors = in_process(*command, "--neck", "memory://hub/neck")
    assert code == 2
    assert "nasfpn data check" in errors
    code, _, errors = in_process(*command, "--neck", "memory://hub/nothing")
    assert code == 2
    assert "memory://hub/nothing holds no search" in errors


def test_a_detector_predicts_evaluates_and_is_exported(detector, tmp_path, in_process):
    pixels = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    code, _shown, errors = in_process(
        "predict", "memory://hub/detector", tmp_path / "a.png", "--out", tmp_path / "predicted"
    )
    assert (code, errors) == (0, "")
    (found, *_) = json.loads((tmp_path / "predicted" / "detections.json").read_text())
    images = json.loads((tmp_path / "predicted" / "images.json").read_text())
    box = {"id": 1, "image_id": 1, "category_id": found["category_id"], "bbox": found["bbox"], "area": 9, "iscrowd": 0}
    images["images"][0]["file_name"] = "a.png"
    (tmp_path / "truth.json").write_text(json.dumps({**images, "annotations": [box]}))
    command = ["evaluate", "memory://hub/detector", "--annotations", tmp_path / "truth.json", "--images", tmp_path]
    code, _, errors = in_process(*command, "--out", tmp_path / "scored", "--pictures", 0)
    assert (code, errors) == (0, "")
    record = json.loads((tmp_path / "scored" / "results.json").read_text())
    assert record["detector"] == "memory://hub/detector"
    code, _, errors = in_process(*command)
    assert code == 2
    assert "a detector at a URL needs --out" in errors
    code, _, errors = in_process("export", "memory://hub/detector", "--output", tmp_path / "out")
    assert (code, errors) == (0, "")
    assert (tmp_path / "out" / "detector.safetensors").read_bytes() == (
        tmp_path / "detector" / "detector.safetensors"
    ).read_bytes()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("predict", "memory://hub/nothing", ".", "--out", "out"), "memory://hub/nothing holds no saved detector"),
        (("export", "memory://hub/nothing", "--output", "out"), "memory://hub/nothing holds no search"),
        (("describe", "memory://hub/nothing"), "memory://hub/nothing holds no search"),
        (("describe", "nosuch://hub"), "nosuch://hub cannot be used"),
    ],
)
def test_urls_without_anything_are_one_line(command, message, in_process, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, errors = in_process(*command)
    assert code == 2
    assert message in errors
    assert "Traceback" not in errors


def test_a_missing_package_is_named(monkeypatch):
    def missing(url):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("nas.runs.remote.files.fsspec.core.url_to_fs", missing)
    with pytest.raises(RemoteError, match="s3fs for s3://"):
        local_export("s3://bucket/neck", ("neck.json",))
