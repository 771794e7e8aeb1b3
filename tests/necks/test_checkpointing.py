"""Activation checkpointing: the same numbers from less memory."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from experiments.benchmarks.memory import peak_bytes
from necks import build_neck
from necks.testing import features
from tests.support.neck_cases import randomised


def trained(neck, maps):
    """Gradients and state after one pass; dropout between cells included."""
    torch.manual_seed(1)
    inputs = {name: x.clone().requires_grad_() for name, x in maps.items()}
    sum(x.square().mean() for x in neck(inputs).values()).backward()
    gradients = [parameter.grad for parameter in neck.parameters()]
    return [x.grad for x in inputs.values()] + gradients, neck.state_dict()


@pytest.mark.parametrize("name", ["nas_fpn", "bifpn@effdet", "pafpn@mmdet"])
def test_gradients_and_statistics_are_the_same(name):
    neck = randomised(build_neck(name, in_channels=(6, 10, 14), out_channels=16, repeats=3)).train()
    for norm in [module for module in neck.modules() if isinstance(module, nn.BatchNorm2d)][::2]:
        norm.register_forward_hook(lambda module, inputs, x: nn.functional.dropout(x, 0.1))
    other = copy.deepcopy(neck)
    other.checkpointing = True
    maps = features(neck, (96, 160))
    (gradients, state), (others, other_state) = trained(neck, maps), trained(other, maps)
    for x, y in zip(gradients, others, strict=True):
        torch.testing.assert_close(x, y)
    for key, value in state.items():
        torch.testing.assert_close(value, other_state[key], msg=key)


def test_it_takes_less_memory():
    neck = build_neck("nas_fpn", in_channels=(6, 10, 14), out_channels=32, repeats=7).train()
    maps = features(neck, (256, 256))

    def step():
        sum(x.square().mean() for x in neck(maps).values()).backward()

    step()
    plain = peak_bytes(step, torch.device("cpu"))
    neck.checkpointing = True
    assert peak_bytes(step, torch.device("cpu")) < plain / 2


def test_norms_are_left_as_they_were():
    neck = build_neck("nas_fpn", in_channels=(6, 10, 14), out_channels=16, repeats=2).train()
    neck.checkpointing = True
    maps = features(neck, (96, 96))
    for _ in range(2):
        sum(x.sum() for x in neck(maps).values()).backward()
    norms = [module for module in neck.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {norm.momentum for norm in norms} == {0.01}
    assert {int(norm.num_batches_tracked) for norm in norms} == {2}
