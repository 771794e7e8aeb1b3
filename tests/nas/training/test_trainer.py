"""One process of a training: what it learns, what it saves, and that it goes on as if it had never stopped."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from nas.configuration import ConfigError, from_dict, override, to_dict
from nas.data.coco import open_splits
from nas.detection.saved import load_detector
from nas.training.augment import TrainingImages
from nas.training.config import TrainConfig, TrainNeckConfig, TrainOptimizerConfig
from nas.training.model import add_drop_block, detector_spec, sync_norms
from nas.training.objective import OneStage, anchors_of
from nas.training.optimization import lr_share, optimizer_of
from nas.training.trainer import Place, Trainer, TrainingError
from necks import Recipe, build_neck
from search_space import known_genotype
from tests.support import tiny_training

CPU = Place(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return tiny_training.train(str(tmp_path_factory.mktemp("signs")))


def trainer_of(config, told=lambda look: None):
    splits = open_splits(config.data)
    return Trainer(config, detector_spec(config, splits.train), splits, CPU, told)


def trained(config, epochs):
    trainer = trainer_of(config)
    for _ in range(epochs):
        trainer.train_epoch()
    return trainer


def same_weights(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().items(), second.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


def test_loss_falls_and_ap_rises_above_nothing(config):
    config = replace(config, epochs=12)
    trainer = trainer_of(config)
    for _ in range(config.epochs):
        trainer.train_epoch()
    losses = [entry["loss"] for entry in trainer.history]
    assert losses[-1] < 0.7 * losses[0]
    metrics = trainer.score()
    assert metrics["AP50"] > 0
    assert trainer.history[-1]["AP"] == metrics["AP"]


@pytest.mark.parametrize(
    "changes",
    [
        [],
        ["ema=0.9", "neck.repeats=2", "deep_supervision=true"],
        ["neck.repeats=2", "neck.checkpointing=true"],
        ["precision=bf16", "optimizer.name=sgd", "neck.drop_block=0.1", "neck.drop_block_size=7"],
        ["backbone.frozen=true", "neck.name=balanced_fpn", "neck.recipe={}"],
        ["detector=faster_rcnn", "two_stage.train_proposals=40", "two_stage.test_proposals=20"],
    ],
)
def test_a_training_goes_on_from_a_checkpoint_to_the_last_bit(config, tmp_path, changes):
    config = override(config, changes)
    whole = trained(config, 2)
    first = trained(config, 1)
    first.save(tmp_path / "checkpoint")
    second = trainer_of(config)
    with torch.no_grad():
        for parameter in second.detector.parameters():
            parameter.add_(1)
    second.load(tmp_path / "checkpoint")
    assert (second.epoch, second.history) == (1, first.history)
    second.train_epoch()
    assert same_weights(whole.detector, second.detector)
    assert same_weights(whole.scored_detector, second.scored_detector)
    assert [entry["loss"] for entry in whole.history] == [entry["loss"] for entry in second.history]


def test_a_checkpoint_is_a_saved_detector_with_the_average_of_the_weights(config, tmp_path):
    trainer = trained(replace(config, ema=0.9), 1)
    trainer.save(tmp_path)
    detector, spec = load_detector(tmp_path)
    assert same_weights(detector, trainer.scored_detector)
    assert not same_weights(detector, trainer.detector)
    assert spec.classes == open_splits(config.data).train.classes
    assert not detector.training


def test_nan_ends_the_training_with_what_to_change(config):
    trainer = trainer_of(replace(config, optimizer=TrainOptimizerConfig(lr=1e9, warmup_epochs=0)))
    with pytest.raises(TrainingError, match=r"loss is (nan|inf) in epoch 1, step 4; lower optimizer\.lr"):
        trainer.train_epoch()


def test_a_batch_larger_than_the_data_is_refused(config):
    with pytest.raises(TrainingError, match="batch_size 32 is more than the 16 training images"):
        trainer_of(replace(config, batch_size=32))


def test_scoring_on_a_test_split_that_is_not_there_is_refused(config):
    with pytest.raises(TrainingError, match="there is no test split"):
        trainer_of(replace(config, score_on="test", data=replace(config.data, test=None)))


def test_looks_are_told_with_loss_and_learning_rate(config):
    looks = []
    trainer = trainer_of(config, looks.append)
    trainer.train_epoch()
    assert [(look.epoch, look.step, look.steps) for look in looks] == [(0, 1, 4), (0, 4, 4)]
    assert all(math.isfinite(look.loss) and 0 < look.lr <= config.optimizer.lr for look in looks)


def images_of(config, anchors=None):
    splits = open_splits(config.data)
    return TrainingImages(splits.train, config, OneStage(torch.zeros(1, 4) if anchors is None else anchors, config))


@pytest.mark.parametrize(("size", "jitter"), [(96, (0.8, 2.0)), (128, (0.1, 0.2)), (64, (1.0, 1.0)), (32, (3.0, 3.0))])
def test_images_are_square_and_boxes_lie_inside(config, size, jitter):
    images = images_of(replace(config, image_size=size, scale_jitter=jitter))
    torch.manual_seed(0)
    for index in range(len(images)):
        pixels, boxes, labels = images.transformed(index)
        assert (pixels.shape, pixels.dtype, type(pixels)) == ((3, size, size), torch.uint8, torch.Tensor)
        assert len(boxes) == len(labels)
        assert boxes.numel() == 0 or (boxes.min() >= 0 and boxes.max() <= size)
        assert ((boxes[:, 2:] - boxes[:, :2]) >= 1).all()


def test_boxes_move_with_their_pixels(config):
    """A white box on black stays where the pixels are, however it is scaled, cropped and mirrored."""
    images = images_of(replace(config, scale_jitter=(0.7, 1.6)))
    truth = {}

    class Painted:
        def __len__(self):
            return 8

        def __getitem__(self, index):
            image = torch.zeros(3, 96, 64, dtype=torch.uint8)
            left, top, right, bottom = truth.setdefault(index, (10 + index, 20, 30 + 2 * index, 70))
            image[:, top:bottom, left:right] = 255
            boxes = torch.tensor([[left, top, right, bottom]], dtype=torch.float32)
            return image, {"boxes": boxes, "labels": torch.tensor([1]), "image_id": index}

    images.split = Painted()
    torch.manual_seed(0)
    seen = 0
    for index in range(8):
        pixels, boxes, _ = images.transformed(index)
        if len(boxes):
            rows, columns = torch.where(pixels[0] > 127)
            found = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()
            assert (found - boxes[0]).abs().max() <= 2
            seen += 1
    assert seen >= 5


def test_images_without_boxes_are_trained_on(config):
    images = images_of(config, torch.tensor([[0.0, 0, 50, 50], [10, 10, 60, 60]]))
    images.split.coco.imgToAnns.clear()
    _, targets = images.collate([images[0], images[1]])
    assert targets.labels.shape == (2, 2)
    assert (targets.labels == -1).all()
    assert targets.offsets.shape == (0, 4)


def test_learning_rate_warms_up_and_falls():
    step = TrainOptimizerConfig(milestones=(30, 40), warmup_epochs=1, warmup_start=0.1)
    assert lr_share(step, 0, 50) == pytest.approx(0.1)
    assert lr_share(step, 0.5, 50) == pytest.approx(0.55)
    assert [lr_share(step, epoch, 50) for epoch in (1, 29.9, 30, 39.9, 40)] == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    cosine = TrainOptimizerConfig(schedule="cosine", warmup_epochs=0)
    assert [lr_share(cosine, epoch, 10) for epoch in (0, 5, 10)] == pytest.approx([1, 0.5, 0])


def test_norms_and_biases_do_not_decay():
    module = nn.Sequential(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2))
    decayed, free = optimizer_of(module, TrainOptimizerConfig()).param_groups
    assert [p.dim() for p in decayed["params"]] == [4]
    assert [p.dim() for p in free["params"]] == [1, 1, 1]
    assert (decayed["weight_decay"], free["weight_decay"]) == (1e-4, 0.0)


@pytest.mark.parametrize("recipe", [Recipe(), Recipe(norm="none"), Recipe(norm="none", separable=True)])
def test_drop_block_zeroes_squares_in_training_only_and_keeps_names(recipe):
    neck = build_neck("nas_fpn", in_channels=(8, 8, 8), out_channels=8, recipe=recipe)
    names = list(neck.state_dict())
    add_drop_block(neck, 0.3, 3)
    assert list(neck.state_dict()) == names
    maps = {f"c{level}": torch.randn(2, 8, 64 >> level - 3, 64 >> level - 3) for level in (3, 4, 5)}
    p3 = neck.train()(maps)["p3"]
    zero = (p3 == 0).float().mean()
    assert 0.05 < zero < 0.7
    assert (neck.eval()(maps)["p3"] == 0).sum() == 0


def test_drop_block_is_refused_where_there_are_no_cells(config):
    with pytest.raises(ConfigError, match=r"drop_block is for merge graphs, not for a BalancedNeck"):
        trainer_of(override(config, ["neck.name=balanced_fpn", "neck.recipe={}", "neck.drop_block=0.1"]))


def test_checkpointing_changes_no_number_and_is_refused_where_there_are_no_repeats(config):
    plain = trained(override(config, ["neck.repeats=2"]), 1)
    recomputed = trained(override(config, ["neck.repeats=2", "neck.checkpointing=true"]), 1)
    assert recomputed.history[0]["loss"] == pytest.approx(plain.history[0]["loss"], rel=1e-4)
    with pytest.raises(ConfigError, match=r"checkpointing is for merge graphs, not for a BalancedNeck"):
        trainer_of(override(config, ["neck.name=balanced_fpn", "neck.recipe={}", "neck.checkpointing=true"]))


@pytest.mark.parametrize("form", ["file", "directory"])
def test_a_neck_from_a_file_is_trained(config, tmp_path, form):
    genotype = known_genotype("bifpn")
    (tmp_path / "genotype.json").write_text(genotype.to_json())
    name = str(tmp_path / "genotype.json" if form == "file" else tmp_path)
    trainer = trainer_of(replace(config, neck=TrainNeckConfig(name=name, channels=16)))
    assert trainer.detector.backbone.neck.genotype == genotype


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["neck.name=nofpn"], r"neck: 'nofpn' is neither a known neck \(.*nor a genotype's JSON file"),
        (['neck.options={"extra":"p8"}'], "neck: nas_fpn has no option extra"),
        (['neck.recipe={"norms":"batch"}'], "neck: .*norms"),
        (['neck.recipe={"norm":"layer"}'], "neck: .*layer"),
        (["deep_supervision=true", "neck.name=balanced_fpn", "neck.recipe={}"], "deep_supervision needs a neck of"),
    ],
)
def test_necks_that_cannot_be_built_are_told(config, changes, message):
    config = override(config, changes)
    with pytest.raises(ConfigError, match=message):
        detector_spec(config, open_splits(config.data).train)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["batch_size=5", "resources.processes=2"], "batch_size 5 cannot be shared by resources.processes=2"),
        (["scale_jitter=[2,1]"], "scale_jitter must be"),
        (["optimizer.milestones=[40,30]"], "milestones must be ascending"),
        (["head.norm=true", "neck.channels=12"], "divisible by 8, got 12"),
        (["epoch=3"], r"unknown field 'epoch'; did you mean 'epochs'\?"),
        (["ema=1"], "ema"),
        (["image_size=100"], "image_size: .*multiple of 32"),
        (["neck.drop_block_size=4"], "drop_block_size must be odd, got 4"),
    ],
)
def test_settings_that_cannot_be_are_told(config, changes, message):
    with pytest.raises(ConfigError, match=message):
        override(config, changes)


def test_configurations_survive_json(config):
    assert from_dict(TrainConfig, json.loads(json.dumps(to_dict(config)))) == config


def test_synchronous_norms_need_gpus(config):
    detector = trainer_of(config).detector
    assert sync_norms(detector, config, torch.device("cpu"), 4) is detector
    with pytest.raises(ConfigError, match="sync_norm needs GPUs"):
        sync_norms(detector, replace(config, sync_norm=True), torch.device("cpu"), 2)
    several = sync_norms(detector, config, torch.device("cuda"), 2)
    assert any(isinstance(module, nn.SyncBatchNorm) for module in several.modules())


def test_the_anchors_are_those_of_torchvisions_own_forward(config):
    detector = trainer_of(config).detector.eval()
    own = torch.cat(anchors_of(detector, 96))
    seen = []
    detector.anchor_generator.register_forward_hook(lambda _, __, anchors: seen.append(anchors[0]))
    with torch.no_grad():
        detector([torch.rand(3, 96, 96)])
    torch.testing.assert_close(own, seen[0])
