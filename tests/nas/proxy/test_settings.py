"""Settings of a proxy task that change nothing, or nothing but rounding."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from nas.data.coco import CocoSplit
from nas.data.config import DataConfig
from nas.data.evaluate import Detections, coco_ap
from nas.proxy import scoring
from nas.proxy.config import OptimizerConfig
from nas.proxy.task import ProxyTask
from nas.proxy.trial import Trained
from search_space import known
from tests.support.detections import Limits, assert_same_detections
from tests.support.recorded import TINY, assert_same

AP_NAMES = ("AP", "AP50", "APs")
SEED = 1
LONGER = replace(TINY, steps=40)
"""Long enough for an AP above 0."""
CPU = torch.device("cpu")


Scored = tuple[CocoSplit, dict[int, Detections]]


def scored_by(patch: pytest.MonkeyPatch) -> list[Scored]:
    """What is given to the scorer from now on."""
    given: list[Scored] = []

    def score(split: CocoSplit, found: dict[int, Detections], *, scorer: str) -> dict[str, float]:
        given.append((split, found))
        return coco_ap(split, found, scorer=scorer)

    patch.setattr(scoring, "coco_ap", score)
    return given


@pytest.fixture(scope="module")
def plain_and_scored(data: DataConfig) -> tuple[Trained, Scored]:
    with pytest.MonkeyPatch.context() as patch:
        scored = scored_by(patch)
        return ProxyTask(LONGER, data).run(known.nas_fpn(), SEED), scored[-1]


@pytest.fixture(scope="module")
def plain(plain_and_scored: tuple[Trained, Scored]) -> Trained:
    return plain_and_scored[0]


def metrics_of_training(trained: Trained) -> dict[str, float | None]:
    return {name: value for name, value in trained.metrics.items() if name == "loss" or name.startswith("AP")}


@pytest.mark.parametrize("change", [{"cache_targets": False}, {"eval_batch_size": 16, "threads": 1}])
def test_settings_that_change_nothing_change_nothing(data, plain, change):
    assert plain.metrics["AP"] > 0
    assert_same(plain, ProxyTask(replace(LONGER, **change), data).run(known.nas_fpn(), SEED))


@pytest.mark.parametrize(
    "change", [{"postprocess": "image"}, {"scorer": "pycocotools"}, {"eval_batch_size": 3}, {"eval_batch_size": 1}]
)
def test_how_a_detector_is_scored_changes_neither_its_weights_nor_what_is_scored(
    data, plain_and_scored, change, monkeypatch
):
    plain, (_, expected) = plain_and_scored
    scored = scored_by(monkeypatch)
    other = ProxyTask(replace(LONGER, **change), data).run(known.nas_fpn(), SEED)
    weights = other.neck.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in plain.neck.state_dict().items())
    assert other.metrics["loss"] == plain.metrics["loss"]
    split, found = scored[-1]
    assert found.keys() == expected.keys()
    limits = Limits(LONGER.head.score_threshold, LONGER.head.nms_threshold, LONGER.head.max_detections)
    for image, one in found.items():
        assert_same_detections(one, expected[image], limits)
    assert other.metrics["AP"] > 0
    ap = {name: value for name, value in metrics_of_training(other).items() if name in AP_NAMES}
    assert ap == pytest.approx({name: coco_ap(split, found)[name] for name in ap}, abs=1e-9)


def test_the_memory_layout_changes_rounding_only(data):
    def run(channels_last: bool) -> Trained:
        few = replace(TINY, steps=3, channels_last=channels_last, optimizer=OptimizerConfig(name="sgd", lr=1e-2))
        return ProxyTask(few, data).run(known.nas_fpn(), SEED)

    first, second = run(True), run(False)
    assert second.metrics["loss"] == pytest.approx(first.metrics["loss"], rel=1e-4)
    weights = second.neck.state_dict()
    for name, value in first.neck.state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("channels_last", [True, False])
def test_inputs_have_the_layout_asked_for(data, frozen, channels_last):
    config = replace(TINY, backbone=replace(TINY.backbone, frozen=frozen), channels_last=channels_last)
    inputs = next(ProxyTask(config, data).train_inputs.batches([[1, 2, 41]], CPU))
    layout = torch.channels_last if channels_last else torch.contiguous_format
    maps = list(inputs.values()) if frozen else [inputs]
    assert all(x.is_contiguous(memory_format=layout) and x.dtype == torch.float32 for x in maps)


def test_bf16_trains_in_single_precision_weights_with_about_the_same_loss(data, plain):
    half = ProxyTask(replace(LONGER, precision="bf16"), data).run(known.nas_fpn(), SEED)
    assert half.metrics["loss"] == pytest.approx(plain.metrics["loss"], rel=0.1)
    assert half.metrics["loss"] != plain.metrics["loss"]
    assert all(math.isfinite(value) for value in metrics_of_training(half).values())
    assert {x.dtype for x in half.neck.state_dict().values() if x.is_floating_point()} == {torch.float32}
    first = [
        ProxyTask(replace(TINY, precision=precision, steps=1), data).run(known.nas_fpn(), SEED).metrics["loss"]
        for precision in ("fp32", "bf16")
    ]
    assert first[1] == pytest.approx(first[0], rel=0.01)


@pytest.mark.slow
def test_a_compiled_training_ends_about_where_the_plain_one_does(data):
    few = replace(TINY, optimizer=OptimizerConfig(name="sgd", lr=1e-2))
    first = ProxyTask(few, data).run(known.fpn(), SEED)
    second = ProxyTask(replace(few, compile="default"), data).run(known.fpn(), SEED)
    assert second.metrics["loss"] == pytest.approx(first.metrics["loss"], rel=1e-3)
    weights = second.neck.state_dict()
    assert weights.keys() == first.neck.state_dict().keys()
    for name, value in first.neck.state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=1e-2, atol=1e-3)
