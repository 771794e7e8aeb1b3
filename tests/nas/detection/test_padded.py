"""The padded loss is the ordinary one, and so are its gradients."""

from __future__ import annotations

import pytest
import torch

from nas.detection.loss import batch_loss
from nas.detection.padded import pad, padded_loss
from nas.detection.targets import Targets, assign, stack

ANCHORS, CLASSES = 40, 5


def random_targets(num_boxes: int, generator: torch.Generator) -> Targets:
    corners = torch.rand(ANCHORS, 2, generator=generator) * 50
    anchors = torch.cat((corners, corners + 8), 1)
    chosen = torch.randperm(ANCHORS, generator=generator)[:num_boxes]
    boxes = anchors[chosen] + torch.rand(num_boxes, 4, generator=generator)
    return assign(boxes, torch.randint(CLASSES, (num_boxes,), generator=generator), anchors)


@pytest.mark.parametrize("boxes", [(3, 1, 9), (0, 4), (0, 0), (ANCHORS,)])
def test_loss_and_gradients_equal_the_ordinary_ones(boxes):
    generator = torch.Generator().manual_seed(0)
    targets = [random_targets(count, generator) for count in boxes]
    outputs = {
        "cls_logits": torch.randn(len(boxes), ANCHORS, CLASSES, generator=generator),
        "bbox_regression": torch.randn(len(boxes), ANCHORS, 4, generator=generator),
    }
    found = []
    for loss_of, given in ((batch_loss, stack(targets, ANCHORS)), (padded_loss, pad(targets, ANCHORS))):
        leaves = {name: value.clone().requires_grad_() for name, value in outputs.items()}
        loss = loss_of(leaves, given, alpha=0.25, gamma=2.0)
        loss.backward()
        found.append([loss.detach(), *(leaf.grad for leaf in leaves.values())])
    for expected, value in zip(*found, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-7)


def test_targets_of_a_batch_are_those_of_its_images():
    generator = torch.Generator().manual_seed(1)
    targets = [random_targets(count, generator) for count in (2, 7, 0)]
    chosen = pad(targets, ANCHORS).of(torch.tensor([1, 0, 1]))
    alone = pad([targets[1]], ANCHORS)
    length = alone.positive.shape[1]
    assert torch.equal(chosen.positive[2, :length], alone.positive[0])
    assert torch.equal(chosen.offsets[0], chosen.offsets[2])
    assert (chosen.positive[1] < ANCHORS).sum() == len(targets[0].positive)
