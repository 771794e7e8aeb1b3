"""Necks trained here in mmdetection: its own classes with our weights, and the plug-in file."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest
import torch

from experiments.benchmarks.peers import mmdet_neck
from nas.detection.saved import load_detector
from necks import MergeNeck, Neck, build_neck, load_exported, save_exported
from search_space import pyramid_space
from tests.support import tiny_training
from tests.support.export_tools import CHANNELS, maps_of_photographs, trained

pytestmark = pytest.mark.bench

WIDTH = 16
TOLERANCE = 1e-4
OWN_CLASSES = {
    "nas_fpn@mmdet": ("NASFPN", {"norm_cfg": {"type": "BN"}, "stack_times": 3}, {"repeats": 3}),
    "fpn@mmdet": ("FPN", {"add_extra_convs": "on_output"}, {"extra": "p6p7_p5"}),
    "pafpn@mmdet": ("PAFPN", {"add_extra_convs": "on_output"}, {"extra": "p6p7_p5"}),
}


@torch.no_grad()
def assert_equal(ours: Neck, theirs: torch.nn.Module) -> None:
    """For maps of real images at three sizes; mmdetection hands necks all maps, C2 included."""
    for maps in maps_of_photographs():
        expected = ours(maps)
        found = theirs((torch.zeros(2, 64, 4, 4), *maps.values()))
        assert len(found) == len(expected)
        for x, y in zip(found, expected.values(), strict=True):
            assert x.shape == y.shape
            assert y.isfinite().all()
            assert (x - y).abs().max() <= TOLERANCE * y.abs().max()


def own_class(kind: str, options: dict, directory: Path, width: int = WIDTH) -> torch.nn.Module:
    given = {"in_channels": [64, *CHANNELS], "out_channels": width, "num_outs": 5, "start_level": 1, **options}
    neck = mmdet_neck(kind, **given)
    neck.load_state_dict(torch.load(directory / "mmdet_weights.pt", weights_only=True), strict=True)
    return neck.eval()


def plugged_in(directory: Path, monkeypatch) -> torch.nn.Module:
    """Built from a configuration, as mmdetection does."""
    from mmdet.registry import MODELS
    from mmengine.utils import import_modules_from_strings

    monkeypatch.chdir(directory)
    monkeypatch.syspath_prepend(str(directory))
    monkeypatch.delitem(sys.modules, "mmdet_neck", raising=False)
    MODELS.module_dict.pop("FoundNeck", None)
    import_modules_from_strings(["mmdet_neck"])
    neck = MODELS.build({"type": "FoundNeck", "init_cfg": {"type": "Pretrained", "checkpoint": "weights.pt"}})
    neck.init_weights()
    return neck.eval()


@pytest.mark.parametrize("name", OWN_CLASSES)
def test_its_own_class_computes_what_was_exported(name, tmp_path, in_process, monkeypatch):
    kind, theirs, arguments = OWN_CLASSES[name]
    neck = trained(build_neck(name, in_channels=CHANNELS, out_channels=WIDTH, **arguments), lr=1e-3)
    save_exported(neck, tmp_path / "neck")
    status, _, complained = in_process("export", tmp_path / "neck", "--output", tmp_path / "out", "--format", "mmdet")
    assert (status, complained) == (0, "")
    assert_equal(neck, own_class(kind, theirs, tmp_path / "out"))
    assert_equal(neck, plugged_in(tmp_path / "out", monkeypatch))


def test_a_detector_trained_by_the_command_gives_its_neck_to_mmdetection(tmp_path, in_process, monkeypatch):
    settings = [f"data.root={tmp_path / 'data'}", "neck.name=nas_fpn@mmdet", "neck.repeats=2", "neck.recipe={}"]
    sets = [word for setting in settings for word in ("--set", setting)]
    run_dir = tmp_path / "run"
    status, _, complained = in_process("train", f"{tiny_training.__file__}:train", "--run-dir", run_dir, *sets)
    assert status == 0, complained
    options = ("--output", tmp_path / "out", "--format", "mmdet", "--fold")
    status, _, complained = in_process("export", run_dir / "model", *options)
    assert (status, complained) == (0, "")
    spec = json.loads((tmp_path / "out" / "detector.json").read_text())
    neck = _neck_of(run_dir / "model")
    assert spec["neck"]["out_channels"] == WIDTH
    options = {"norm_cfg": {"type": "BN", "eps": _eps(neck)}, "stack_times": 2}
    assert_equal(neck, own_class("NASFPN", options, tmp_path / "out"))
    assert_equal(neck, plugged_in(tmp_path / "out", monkeypatch))


def test_a_found_neck_is_plugged_in(tmp_path, in_process, monkeypatch):
    genotype = pyramid_space().sample(random.Random(3))
    neck = trained(MergeNeck(genotype, CHANNELS, (3, 4, 5), WIDTH, 2))
    save_exported(neck, tmp_path / "neck")
    status, _, complained = in_process("export", tmp_path / "neck", "--output", tmp_path / "out", "--format", "mmdet")
    assert (status, complained) == (0, "")
    assert not (tmp_path / "out" / "mmdet_weights.pt").exists()
    assert_equal(load_exported(tmp_path / "neck"), plugged_in(tmp_path / "out", monkeypatch))


def _neck_of(directory: Path) -> Neck:
    return load_detector(directory)[0].backbone.neck


def _eps(neck: Neck) -> float:
    return next(module.eps for module in neck.modules() if isinstance(module, torch.nn.BatchNorm2d))
