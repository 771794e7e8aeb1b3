"""Files of weights from anywhere: tensors are read, all else is an error, and no code is run."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from nas.detection.backbone import build_backbone
from nas.detection.checkpoint import CheckpointError, read_checkpoint, state_dict_of
from nas.detection.config import BackboneConfig
from necks import build_neck
from necks.reference import load_reference

STATE = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2)}


class Malicious:
    """Makes a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_is_not_run(tmp_path, zipped):
    trace, path = tmp_path / "it_ran", tmp_path / "evil.pth"
    torch.save({"state_dict": STATE, "more": Malicious(trace)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"more than tensors and plain values \(\S+\).*is refused"):
        read_checkpoint(path)
    with pytest.raises(CheckpointError, match="is refused"):
        build_backbone(BackboneConfig(name="resnet10", weights=str(path)))
    assert not trace.exists()
    with path.open("wb") as file:
        pickle.dump(Malicious(trace), file)
    with pytest.raises(CheckpointError, match="cannot be read as weights"):
        read_checkpoint(path)
    assert not trace.exists()


def test_a_pickled_module_is_refused_with_advice(tmp_path):
    torch.save(torch.nn.Conv2d(1, 1, 1), tmp_path / "module.pth")
    with pytest.raises(CheckpointError, match=r"torch\.nn\.modules\.conv\.Conv2d.*save model\.state_dict\(\) alone"):
        read_checkpoint(tmp_path / "module.pth")


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"state_dict": x, "epoch": 3}, lambda x: {"model": x}])
@pytest.mark.parametrize("prefix", ["", "module.", "module.model."])
def test_state_dicts_are_freed_of_their_wrappers(tmp_path, wrap, prefix):
    torch.save(wrap({prefix + name: value for name, value in STATE.items()}), tmp_path / "state.pth")
    found = state_dict_of(read_checkpoint(tmp_path / "state.pth"), "state.pth")
    assert found.keys() == STATE.keys()
    assert all(torch.equal(found[name], STATE[name]) for name in STATE)


def test_safetensors_are_read(tmp_path):
    save_file(STATE, str(tmp_path / "state.safetensors"))
    assert read_checkpoint(tmp_path / "state.safetensors").keys() == STATE.keys()


@pytest.mark.parametrize("name", ["x.pth", "x.pt", "x.safetensors"])
@pytest.mark.parametrize("raw", [b"", b"hello", b"\x80\x02", bytes(range(256)) * 9, b"PK\x03\x04torn", b"\0" * 4096])
def test_what_is_no_file_of_weights_is_an_error(tmp_path, name, raw):
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(CheckpointError, match=rf"{name} cannot be read as weights"):
        read_checkpoint(tmp_path / name)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_cut_off_is_an_error(tmp_path, zipped):
    path = tmp_path / "torn.pth"
    torch.save(STATE, path, _use_new_zipfile_serialization=zipped)
    raw = path.read_bytes()
    for part in (0.1, 0.5, 0.9):
        path.write_bytes(raw[: int(part * len(raw))])
        with pytest.raises(CheckpointError, match="cannot be read as weights"):
            read_checkpoint(path)


def test_missing_files_and_other_contents_are_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere\.pth is not a file"):
        read_checkpoint(tmp_path / "nowhere.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="holds a list, not a state dict"):
        read_checkpoint(tmp_path / "list.pth")
    for content, message in (({"epoch": 3, **STATE}, "holds also epoch"), ({}, "is empty"), ({3: STATE}, "also 3")):
        with pytest.raises(CheckpointError, match=message):
            state_dict_of(content, "it")


def test_a_dict_inside_itself_has_an_end(tmp_path):
    content = {"epoch": 3}
    content["state_dict"] = content
    torch.save(content, tmp_path / "self.pt")
    with pytest.raises(CheckpointError, match=r"self\.pt is no state dict: .*without an end"):
        state_dict_of(read_checkpoint(tmp_path / "self.pt"), "self.pt")
    neck = build_neck("fpn@torchvision", in_channels=(8, 8, 8), out_channels=8)
    with pytest.raises(ValueError, match="without an end"):
        load_reference(neck, content, source="torchvision")


def test_a_file_that_unpacks_to_more_than_itself_is_refused(tmp_path):
    torch.save({"a": torch.zeros(2**20)}, tmp_path / "plain.pt")
    with (
        zipfile.ZipFile(tmp_path / "plain.pt") as plain,
        zipfile.ZipFile(tmp_path / "packed.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    with pytest.raises(CheckpointError, match=r"packed\.pt unpacks to 4,\d+,\d+ bytes, which torch\.save never does"):
        read_checkpoint(tmp_path / "packed.pt")
    assert read_checkpoint(tmp_path / "plain.pt").keys() == {"a"}


def test_a_tensor_larger_than_its_numbers_is_refused(tmp_path):
    torch.save({"a": torch.zeros(1).expand(10**9, 10**6)}, tmp_path / "hollow.pt")
    with pytest.raises(CheckpointError, match=r"a as \(1000000000, 1000000\) without as many numbers"):
        state_dict_of(read_checkpoint(tmp_path / "hollow.pt"), "hollow.pt")


def test_weights_that_are_not_finite_are_refused():
    with pytest.raises(CheckpointError, match=r"it holds numbers that are not finite in 1 tensors \(a\.bias\)"):
        state_dict_of({**STATE, "a.bias": torch.tensor([1.0, float("nan")])}, "it")


@pytest.mark.timeout(10)
@pytest.mark.parametrize("name", ["pipe.pt", "pipe.safetensors"])
def test_a_pipe_is_no_file_of_weights(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(CheckpointError, match="is not a file"):
        read_checkpoint(tmp_path / name)
