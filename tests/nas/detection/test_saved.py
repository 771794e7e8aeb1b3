"""Detectors as files: round trip, and what is said of files that are none."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from nas.detection.config import BackboneConfig, HeadConfig
from nas.detection.saved import (
    DETECTOR_FILE,
    WEIGHTS_FILE,
    DetectorError,
    DetectorSpec,
    build_from_spec,
    load_detector,
    save_detector,
)
from necks import build_neck
from necks.exported import neck_to_dict
from tests.support.detections import Limits, assert_same_detections

BACKBONE_CHANNELS = (128, 256, 512)


def spec_of(neck: str = "nas_fpn", anytime: bool = False, **options) -> DetectorSpec:
    module = build_neck(neck, in_channels=BACKBONE_CHANNELS, out_channels=16, **options)
    return DetectorSpec(
        backbone=BackboneConfig(name="resnet10"),
        neck=neck_to_dict(module),
        head=HeadConfig(convs=1, octaves=1, ratios=(1.0,)),
        image_size=64,
        classes=("cat", "dog"),
        category_ids=(3, 17),
        anytime=anytime,
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("saved") / "detector"
    spec = spec_of()
    detector = build_from_spec(spec).eval()
    save_detector(detector.state_dict(), spec, path)
    return path, detector, spec


@pytest.mark.parametrize(
    ("neck", "options", "anytime"),
    [("nas_fpn", {"repeats": 2}, False), ("nas_fpn", {"repeats": 2}, True), ("balanced_fpn", {}, False)],
)
def test_what_is_saved_detects_the_same_when_loaded(tmp_path, neck, options, anytime):
    spec = replace(spec_of(neck, anytime, **options), backbone=BackboneConfig(name="resnet10", frozen=True))
    detector = build_from_spec(spec).eval()
    detector.score_thresh = 0.0
    save_detector(detector.state_dict(), spec, tmp_path)
    again, read = load_detector(tmp_path)
    again.score_thresh = 0.0
    image = [torch.rand(3, 50, 70)]
    with torch.no_grad():
        expected, found = detector(image)[0], again(image)[0]
    assert len(expected["boxes"])
    assert_same_detections(found, expected, Limits.of(again))
    assert read == replace(spec, backbone=BackboneConfig(name="resnet10"))
    assert (type(again), again.training) == (type(detector), False)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(DetectorError, match=rf"{DETECTOR_FILE}, {WEIGHTS_FILE} missing; see nasfpn train"):
        load_detector(tmp_path / "nowhere")


def test_a_torn_weights_file_is_named(saved, tmp_path):
    path, _, _ = saved
    (tmp_path / DETECTOR_FILE).write_bytes((path / DETECTOR_FILE).read_bytes())
    raw = (path / WEIGHTS_FILE).read_bytes()
    (tmp_path / WEIGHTS_FILE).write_bytes(raw[: len(raw) // 2])
    with pytest.raises(DetectorError, match=f"{WEIGHTS_FILE} cannot be read"):
        load_detector(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "format 99; this version reads format 1"),
        ({"backbone": {"name": "resnet11"}}, "unknown backbone"),
        ({"head": {"convs": 9}}, "convs"),
        ({"neck": {"kind": "magic"}}, "unknown kind of neck 'magic'"),
        ({"neck": {"kind": ["merge"]}}, r"unknown kind of neck \['merge'\]"),
        ({"classes": 3}, "no description of a detector"),
        ({"category_ids": [float("inf"), 2]}, "a number that is not finite"),
        ({"anytime": "perhaps", "neck": None}, "no description of a detector"),
        ({"convention": "theirs"}, "unknown convention 'theirs'; known are nas_fpn, torchvision, mmdet"),
        ({"convention": "mmdet", "anytime": True}, "anytime detectors have the convention 'nas_fpn'"),
    ],
)
def test_a_wrong_description_says_what_is_wrong(saved, tmp_path, change, message):
    path, _, _ = saved
    data = {**json.loads((path / DETECTOR_FILE).read_text()), **change}
    (tmp_path / DETECTOR_FILE).write_text(json.dumps(data))
    (tmp_path / WEIGHTS_FILE).write_bytes((path / WEIGHTS_FILE).read_bytes())
    with pytest.raises(DetectorError, match=message):
        load_detector(tmp_path)


def test_files_from_before_conventions_have_ours(saved):
    path, _, spec = saved
    data = json.loads((path / DETECTOR_FILE).read_text())
    del data["convention"]
    assert DetectorSpec.from_dict(data) == spec


@pytest.mark.parametrize("text", ["", "[1, 2]", "{", "null"])
def test_a_description_that_is_no_object_is_refused(saved, tmp_path, text):
    path, _, _ = saved
    (tmp_path / DETECTOR_FILE).write_text(text)
    (tmp_path / WEIGHTS_FILE).write_bytes((path / WEIGHTS_FILE).read_bytes())
    with pytest.raises(DetectorError, match=DETECTOR_FILE):
        load_detector(tmp_path)


def test_weights_of_another_neck_are_listed_and_not_loaded(saved, tmp_path):
    path, _, _ = saved
    other = spec_of("fpn")
    save_detector(build_from_spec(other).state_dict(), other, tmp_path)
    (tmp_path / WEIGHTS_FILE).write_bytes((path / WEIGHTS_FILE).read_bytes())
    with pytest.raises(DetectorError, match=r"another detector \(\d+ missing: .*; \d+ unknown: backbone\.neck\."):
        load_detector(tmp_path)


def test_weights_of_another_number_of_classes_are_told_by_shape(saved, tmp_path):
    path, _, spec = saved
    three = replace(spec, classes=("a", "b", "c"), category_ids=(1, 2, 3))
    save_detector(build_from_spec(three).state_dict(), three, tmp_path)
    (tmp_path / WEIGHTS_FILE).write_bytes((path / WEIGHTS_FILE).read_bytes())
    with pytest.raises(DetectorError, match=r"2 of another shape: head\.classification_head\.cls_logits\.weight"):
        load_detector(tmp_path)
