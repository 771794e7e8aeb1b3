"""Resampling and merging, value by value."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from necks.lowering import Lowering
from necks.merge import Input, Merging, max_gate
from necks.merge import merged as lower_merge
from necks.recipe import Recipe
from necks.resample import resample
from necks.straight import Straight

SIDES = st.integers(1, 40)


def merged(merge: str, levels: tuple[int, ...], level: int, maps: list[torch.Tensor], dangling=None, weight=()):
    """The merge of maps of these levels at the size (4, 4) of a cell's level."""
    names = [f"map{index}" for index in range(len(maps))]
    lowering = Lowering([*names, f"p{level}"], [])
    cell = Merging(lowering, Recipe(), "cell", level, {})
    inputs = [
        Input(name, node, level - given, "", projects=False, strides=False, shared=False)
        for node, (name, given) in enumerate(zip(names, levels, strict=True))
    ]
    total = lower_merge(cell, merge, inputs[:dangling])
    module = Straight()
    module.cell = torch.nn.Module()
    module.cell.weight = torch.nn.Parameter(torch.tensor(weight))
    module.run_program(lowering.program([lowering.total([total, *names[dangling:]] if dangling else [total])]))
    return module([*maps, torch.empty(1, 1, 4, 4)])[0]


def test_up_is_pixel_repetition():
    x = torch.arange(4.0).reshape(1, 1, 2, 2)
    assert torch.equal(resample(x, (4, 4), shift=-1), x.repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_down_is_one_max_pool_with_kernel_equal_to_stride():
    x = torch.randn(2, 3, 16, 8)
    assert torch.equal(resample(x, (4, 2), shift=2), torch.nn.functional.max_pool2d(x, 4, 4))


@given(height=SIDES, width=SIDES, shift=st.integers(-3, 3))
@settings(max_examples=150, deadline=None)
def test_any_size_is_reached_and_the_global_maximum_survives(height, width, shift):
    x = torch.randn(1, 2, height, width)
    spare = 1 if shift < 0 else 0
    size = tuple(max(1, -(-side // 2**shift) if shift > 0 else side * 2**-shift - spare) for side in (height, width))
    y = resample(x, size, shift=shift)
    assert y.shape[-2:] == size
    if shift > 0:
        assert torch.equal(max_gate(y), max_gate(x))


def test_a_backbone_that_rounds_down_is_met_too():
    assert resample(torch.randn(1, 1, 33, 67), (16, 33), shift=1).shape[-2:] == (16, 33)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_attention_is_coarse_plus_fine_times_the_gate_of_the_coarse(order):
    fine, coarse = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 2, 2)
    maps, levels = [fine, coarse], [3, 4]
    expected = resample(coarse, (4, 4), shift=-1) + fine * torch.sigmoid(coarse.amax((2, 3), keepdim=True))
    result = merged("attention", tuple(levels[i] for i in order), 3, [maps[i] for i in order])
    torch.testing.assert_close(result, expected)


def test_attention_takes_the_first_for_the_coarser_at_equal_levels():
    a, b = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(merged("attention", (3, 3), 3, [a, b]), a + b * max_gate(a))


def test_dangling_nodes_are_added_as_they_are():
    a, b, c = (torch.randn(1, 2, 4, 4) for _ in range(3))
    result = merged("attention", (3, 3, 3), 3, [a, b, c], dangling=2)
    torch.testing.assert_close(result, a + b * max_gate(a) + c)


def test_fast_normalized_fusion_weights_are_positive_and_sum_to_almost_one():
    maps = [torch.randn(1, 2, 4, 4) for _ in range(3)]
    result = merged("fast_normalized", (3, 3, 3), 3, maps, weight=(1.0, -5.0, 3.0))
    torch.testing.assert_close(result, (maps[0] + 3 * maps[2]) / (4 + 1e-4))


def test_inputs_used_twice_by_different_cells_are_not_changed_in_place():
    x = torch.randn(1, 2, 4, 4)
    before = x.clone()
    merged("sum", (3, 3), 3, [x, x])
    assert torch.equal(x, before)
