"""`nasfpn convert`: from a file to a detector that can be evaluated, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from nas.conversion.convert import read_categories
from nas.data.config import DataError
from nas.detection.saved import load_detector
from tests.nas.conversion.test_convert_mmdet import THREE, named_as_there


class Malicious:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


@pytest.fixture
def annotations(tmp_path):
    """Categories in mmdetection's order, that of the file."""
    categories = [{"id": key, "name": name} for key, name in zip(THREE.ids, THREE.names, strict=True)]
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"images": [], "annotations": [], "categories": categories}))
    return path


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_files_become_detectors(tmp_path, annotations, in_process, suffix):
    path, output = tmp_path / f"weights.{suffix}", tmp_path / "detector"
    state = named_as_there()
    torch.save({"state_dict": state, "meta": {"epoch": 12}}, path) if suffix == "pth" else save_file(state, str(path))
    options = ["--source", "mmdet", "--annotations", annotations, "--output", output]
    code, shown, errors = in_process("convert", path, *options, "--size", 256)
    assert (code, errors) == (0, "")
    assert "resnet18, 3 classes" in shown
    detector, spec = load_detector(output)
    assert (spec.image_size, spec.category_ids, spec.convention) == (256, THREE.ids, "mmdet")
    found = detector.state_dict()["head.classification_head.cls_logits.bias"]
    assert torch.equal(found, state["bbox_head.retina_cls.bias"])


def test_an_untrusted_pickle_is_refused_and_nothing_written(tmp_path, annotations, in_process):
    path, trace = tmp_path / "evil.pth", tmp_path / "it_ran"
    torch.save({"state_dict": named_as_there(), "hook": Malicious(trace)}, path)
    options = ["--source", "mmdet", "--annotations", annotations, "--output", tmp_path / "out"]
    code, _, errors = in_process("convert", path, *options)
    assert code == 2
    assert "refused" in errors
    assert not trace.exists()
    assert not (tmp_path / "out").exists()


def test_a_directory_with_other_things_is_left_alone(tmp_path, annotations, in_process):
    path = tmp_path / "weights.pth"
    torch.save(named_as_there(), path)
    code, _, errors = in_process(
        "convert", path, "--source", "mmdet", "--annotations", annotations, "--output", tmp_path
    )
    assert (code, "is not empty" in errors) == (2, True)


def test_categories_are_in_the_order_of_the_source(annotations):
    assert read_categories(annotations, "mmdet").ids == (9, 2, 5)
    assert read_categories(annotations, "torchvision").names == ("dog", "eel", "cat")


@pytest.mark.parametrize("categories", [[], [{"id": 1}], [{"id": "x", "name": "a"}], [3], [{"id": 1, "name": "a"}] * 2])
def test_malformed_categories_are_errors(annotations, categories):
    annotations.write_text(json.dumps({"images": [], "annotations": [], "categories": categories}))
    with pytest.raises(DataError, match="categories"):
        read_categories(annotations, "mmdet")
