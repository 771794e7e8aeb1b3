"""Images read ahead by processes of their own: the same training to the last bit, and errors in one line."""

from __future__ import annotations

import multiprocessing
import shutil
from dataclasses import replace

import pytest
import torch

from nas.configuration import override
from nas.data.coco import open_splits
from nas.data.config import DataError
from nas.data.letterboxed import Letterboxed
from nas.data.read_ahead import read_ahead
from nas.detection.backbone import build_backbone
from nas.detection.config import BackboneConfig
from nas.proxy.features import cached_features
from nas.proxy.task import ProxyTask
from search_space import known
from tests.support.recorded import TINY, assert_same

CPU = torch.device("cpu")
ORDER = [[3, 0], [1, 2], [15]]


@pytest.mark.parametrize("loaders", [0, 2])
def test_batches_come_in_order_and_the_random_state_stays(data, loaders):
    images = Letterboxed(open_splits(data).reward, 64)
    state = torch.get_rng_state()
    found = list(read_ahead(images, ORDER, loaders))
    assert torch.equal(torch.get_rng_state(), state)
    assert [len(batch) for batch in found] == [2, 2, 1]
    for indices, batch in zip(ORDER, found, strict=True):
        assert torch.equal(batch, torch.stack([images[index][0] for index in indices]))


@pytest.mark.parametrize("loaders", [0, 2])
def test_an_unreadable_image_is_one_line(data, tmp_path, loaders):
    shutil.copytree(data.root, tmp_path / "copy")
    split = open_splits(replace(data, root=str(tmp_path / "copy"))).reward
    split.image_path(split.image_ids[2]).write_bytes(b"torn")
    with pytest.raises(DataError) as caught:
        list(read_ahead(Letterboxed(split, 64), ORDER, loaders))
    assert str(split.image_path(split.image_ids[2])) in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_backbone_is_trained_the_same_with_loaders_and_they_end(data):
    before = multiprocessing.active_children()
    config = replace(TINY, backbone=BackboneConfig(name="resnet10"), warm_steps=0, steps=3)
    plain = ProxyTask(config, data).run(known.fpn(), 0)
    ahead = ProxyTask(replace(config, loaders=2), data).run(known.fpn(), 0)
    assert_same(plain, ahead)
    assert set(multiprocessing.active_children()) <= set(before)


def test_an_estimate_ends_its_loaders(data):
    before = multiprocessing.active_children()
    config = replace(TINY, backbone=BackboneConfig(name="resnet10"), warm_steps=0, steps=40, loaders=1)
    assert ProxyTask(config, data).estimate() > 0
    assert set(multiprocessing.active_children()) <= set(before)


def test_features_are_the_same_with_loaders(data, tmp_path):
    images = Letterboxed(open_splits(data).reward, 64)
    backbone = build_backbone(BackboneConfig(name="resnet10", frozen=True))
    for name, loaders in (("plain", 0), ("ahead", 2)):
        cached_features(images, backbone, tmp_path / name, CPU, loaders=loaders)
    files = [sorted((tmp_path / name).rglob("*.npy")) for name in ("plain", "ahead")]
    assert [path.name for path in files[0]] == ["c3.npy", "c4.npy", "c5.npy"]
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]


def test_loaders_do_not_make_another_training_of_it():
    """Checkpoints and kept results are known by their settings."""
    assert repr(TINY) == repr(override(TINY, ["loaders=4"]))
