"""ONNX of a whole detector with suppression inside finds what torchvision finds, at any size."""

from __future__ import annotations

import re

import pytest
import torch

from nas.detection.saved import load_detector
from nas.export.onnx_file import read_onnx, write_onnx
from nas.export.suppression import (
    OUTPUTS,
    SUPPRESSING_FILE,
    detections_difference,
    kept_in_onnx,
    suppressing_graph,
)
from necks import build_neck, save_exported
from tests.support.busy_detector import save_busy_detector
from tests.support.detections import Limits, assert_same_detections

SIZES = ((128, 128), (96, 256), (320, 64), (32, 32))


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "detector"
    save_busy_detector(path)
    return path


def busy(directory, **limits):
    detector, _ = load_detector(directory)
    for name, value in limits.items():
        setattr(detector, name, value)
    return detector


LIMITS = {
    "as trained": {},
    "few candidates": {"topk_candidates": 40, "detections_per_img": 300, "nms_thresh": 0.3},
    "none sure enough": {"score_thresh": 0.99},
}


def by_torchvision(detector, images):
    """Its own forward pass, in which images stay as large as they are."""
    height, width = images.shape[-2:]
    detector.transform.min_size, detector.transform.max_size = (min(height, width),), max(height, width)
    with torch.no_grad():
        return detector(list(images))


def unpacked(outputs):
    boxes, scores, labels, count = outputs
    return [
        {"boxes": boxes[i, :n], "scores": scores[i, :n], "labels": labels[i, :n]} for i, n in enumerate(count.tolist())
    ]


@pytest.mark.parametrize("limits", LIMITS)
def test_the_module_finds_what_torchvision_finds(directory, limits):
    detector = busy(directory, **LIMITS[limits])
    graph = suppressing_graph(detector)
    number = 0
    for size in SIZES:
        (images,) = graph.inputs(size, batch=2)
        with torch.no_grad():
            found = unpacked(graph.module(images).values())
        for ours, theirs in zip(found, by_torchvision(detector, images), strict=True):
            assert_same_detections(ours, theirs, Limits.of(detector))
            assert ours["scores"].tolist() == sorted(ours["scores"].tolist(), reverse=True)
            number += len(theirs["scores"])
    assert (number > 50) == (limits != "none sure enough")


def test_onnxruntime_finds_what_torchvision_finds(directory, tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    detector = busy(directory, topk_candidates=100)
    graph = suppressing_graph(detector)
    path = write_onnx(graph, tmp_path / SUPPRESSING_FILE, kept_in_onnx)
    compute = read_onnx(path)
    for size in SIZES:
        for batch in (1, 3):
            (images,) = graph.inputs(size, batch=batch, seed=batch)
            found = unpacked(compute((images,)))
            for ours, theirs in zip(found, by_torchvision(detector, images), strict=True):
                assert len(theirs["scores"]) > 5
                assert_same_detections(ours, theirs, Limits.of(detector))
    program = onnx.load(path).graph
    assert [value.name for value in program.output] == list(OUTPUTS)
    shapes = [[dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in program.output]
    assert shapes == [["batch", 30, 4], ["batch", 30], ["batch", 30], ["batch"]]


def detections(boxes, scores, labels, count):
    return [torch.tensor(boxes), torch.tensor(scores), torch.tensor(labels), torch.tensor(count)]


def test_the_difference_tells_other_detections():
    one = detections([[[0.0, 0, 10, 10], [5, 5, 9, 9]]], [[0.9, 0.5]], [[1, 0]], [2])
    assert detections_difference(one, one) == 0
    swapped = detections([[[5.0, 5, 9, 9], [0, 0, 10, 10]]], [[0.5, 0.9]], [[0, 1]], [2])
    assert detections_difference(one, swapped) == 0
    moved = detections([[[0.0, 0, 10, 10], [5, 5, 9, 8]]], [[0.9, 0.5]], [[1, 0]], [2])
    assert detections_difference(one, moved) == pytest.approx(0.1)
    other_class = detections([[[0.0, 0, 10, 10], [5, 5, 9, 9]]], [[0.9, 0.5]], [[1, 1]], [2])
    assert detections_difference(one, other_class) == float("inf")
    fewer = detections([[[0.0, 0, 10, 10], [5, 5, 9, 9]]], [[0.9, 0.5]], [[1, 0]], [1])
    assert detections_difference(one, fewer) > 0.1
    none = detections([[[0.0, 0, 0, 0], [0, 0, 0, 0]]], [[0.0, 0]], [[0, 0]], [0])
    assert detections_difference(none, none) == 0
    assert detections_difference(one, none) == float("inf")


def test_the_command_writes_it_for_detectors_alone(directory, tmp_path, in_process):
    pytest.importorskip("onnxruntime")
    code, shown, errors = in_process(
        "export", directory, "--output", tmp_path / "out", "--format", "onnx-nms", "--fold"
    )
    assert (code, errors) == (0, "")
    assert re.search(r"detector_nms.onnx: equal to the trained module within \de-", shown)
    assert "| `detector_nms.onnx` |" in (tmp_path / "out" / "README.md").read_text()
    save_exported(build_neck("fpn", in_channels=(4, 6, 8), out_channels=8).eval(), tmp_path / "neck")
    code, _, errors = in_process("export", tmp_path / "neck", "--output", tmp_path / "other", "--format", "onnx-nms")
    assert code == 2
    assert "onnx-nms is of whole RetinaNets, and this is a neck" in errors
