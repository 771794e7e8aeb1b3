"""The split that a candidate is scored on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from nas.data.coco import open_splits
from nas.data.config import DataError
from nas.proxy import scoring
from nas.proxy.task import ProxyTask
from search_space import known
from tests.support.recorded import TINY, Recorded


@pytest.mark.parametrize("name", ["reward", "test"])
def test_the_split_asked_for_is_scored_and_no_other(data, monkeypatch, name):
    proxy = ProxyTask(TINY, data, score_on=name)
    expected = getattr(open_splits(data), name)
    assert proxy.scored_images.split.annotations == expected.annotations
    assert proxy.scored_images.split.image_ids == expected.image_ids
    scored = []
    monkeypatch.setattr(
        scoring, "coco_ap", lambda split, found, scorer: (scored.append((split, found)), {"AP": 0.0})[1]
    )
    proxy.run(known.fpn(), 0, Recorded(rungs=(4,)))
    assert [split.annotations for split, _ in scored] == [expected.annotations] * 2
    assert all(set(found) == set(expected.image_ids) for _, found in scored)


def test_the_scored_split_does_not_change_the_training(data, task):
    first, second = task.run(known.fpn(), 0), ProxyTask(TINY, data, score_on="test").run(known.fpn(), 0)
    weights = second.neck.state_dict()
    assert first.metrics["loss"] == second.metrics["loss"]
    assert all(torch.equal(value, weights[name]) for name, value in first.neck.state_dict().items())


def test_without_a_test_split_there_is_none_to_score_on(data, task):
    untested = replace(data, test=None)
    with pytest.raises(DataError, match=r"no test split to score on \(data.test is null\).*--set data.test="):
        ProxyTask(TINY, untested, score_on="test")
    assert len(ProxyTask(TINY, untested).scored_images) == 16
