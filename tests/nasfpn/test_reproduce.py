"""`nasfpn reproduce`: the table within 1 % of what was published, and what is said of data that are not COCO."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from nas.configuration import override
from nas.data.config import DataError
from nas.experiment import load_experiment
from nas.search.config import SearchConfig, load_search
from nas.training.config import TrainConfig
from nasfpn import reproduce
from nasfpn.published import PUBLISHED, built_cost, deviation
from nasfpn.reproduce import COCO, check_coco

SMALL = tuple(replace(entry, images=2, boxes=3) for entry in COCO)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A tiny COCO 2017, and that taken for the real one."""
    monkeypatch.setattr(reproduce, "COCO", SMALL)
    (tmp_path / "annotations").mkdir()
    for entry in SMALL:
        (tmp_path / entry.folder).mkdir()
        _write(tmp_path / entry.file)
    return tmp_path


def _write(path, images=2, boxes=3, categories=80):
    content = {
        "images": [{"id": index} for index in range(images)],
        "annotations": [{"id": index} for index in range(boxes)],
        "categories": [{"id": index} for index in range(categories)],
    }
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("entry", PUBLISHED, ids=lambda entry: f"{entry.label}, {entry.size} px")
def test_parameters_and_multiply_adds_are_within_one_percent(entry):
    cost = built_cost(entry)
    assert abs(deviation(cost.params / 1e6, entry.params)) < 0.01
    assert abs(deviation(cost.macs / 1e9, entry.macs)) < 0.01


def test_without_coco_it_prints_the_table_and_what_it_needs(in_process):
    status, said, complained = in_process("reproduce", "nas-fpn", "--variant", "retinanet")
    assert (status, complained) == (0, "")
    assert said.count("R-50 NAS-FPN 7@256") == 3
    assert "--variant retinanet --coco ROOT" in said
    assert "118,287 images" in said


@pytest.mark.parametrize("name", sorted({entry.experiment for entry in PUBLISHED if entry.experiment}))
def test_every_variant_is_an_experiment_that_builds_what_the_table_says(name):
    config = load_experiment(f"experiments.coco:{name}")
    assert isinstance(config, TrainConfig)
    entry = next(entry for entry in PUBLISHED if entry.experiment == name)
    assert (config.backbone.name, config.neck.name, config.image_size) == (entry.backbone, entry.neck, entry.size)
    assert (config.neck.channels, config.neck.repeats) == (entry.channels, entry.repeats)


def test_the_published_search_is_an_experiment():
    config = load_search("experiments.coco:search")
    assert isinstance(config, SearchConfig)
    assert (config.trials, config.resources.workers, config.data.holdout) == (8000, 100, 7392)
    assert (config.proxy.backbone.name, config.proxy.image_size) == ("resnet10", 512)
    assert (config.proxy.neck.repeats, config.proxy.neck.channels) == (3, 256)
    assert override(config, ["trials=4"]).trials == 4


def test_a_right_root_passes(root):
    check_coco(root)


def test_missing_files_are_all_named(root):
    (root / COCO[1].file).unlink()
    (root / COCO[0].folder).rmdir()
    with pytest.raises(DataError, match=r"train2017, annotations/instances_val2017\.json missing; ROOT has to"):
        check_coco(root)


@pytest.mark.parametrize("wrong", [{"images": 1}, {"boxes": 4}, {"categories": 79}])
def test_other_counts_are_refused_with_a_way_to_train_on_other_data(root, wrong):
    _write(root / COCO[0].file, **wrong)
    with pytest.raises(DataError, match=r"To train on other data: nasfpn train nasfpn\.coco:nas_fpn --set"):
        check_coco(root)


def test_wrong_names_are_refused_with_those_there_are(tmp_path, in_process):
    status, _, complained = in_process("reproduce", "efficientdet")
    assert status == 2
    assert "unknown paper 'efficientdet'; known: nas-fpn" in complained
    status, _, complained = in_process("reproduce", "nas-fpn", "--variant", "nas_fpn_640")
    assert status == 2
    assert "known are nas_fpn, nas_fpn_1024" in complained
    status, _, complained = in_process("reproduce", "nas-fpn", "--coco", tmp_path)
    assert status == 2
    assert "is not COCO 2017" in complained
