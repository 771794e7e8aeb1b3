"""What keeps the necks quick, counted rather than timed: bytes beside the convolutions', and operations.

The times themselves are in `experiments/results/necks_cpu.md`. A figure here that falls is to be lowered; one that
rises says that somebody reads or writes a map more than before.
"""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.torch_version import TorchVersion

from experiments.benchmarks.floor import Convolutions, convolution_calls, traffic
from experiments.benchmarks.neck_pairs import CHANNELS, LEVELS, PAIRS, run_ours
from necks import MergeNeck, build_neck
from search_space import Genotype, MergeCell

TRAFFIC = {
    "FPN (torchvision)": (0.24, 0.24),
    "PAFPN (mmdet)": (0.19, 0.19),
    "NAS-FPN x7 (mmdet)": (0.94, 0.74),
    "BiFPN 64 x3 (effdet)": (1.08, 0.82),
    "best found x1": (0.79, 0.55),
}
"""Bytes of everything else over the convolutions', in evaluation mode as it is and fused."""


def maps(side=256, layout=torch.channels_last):
    sizes = [(1, width, side >> level, side >> level) for width, level in zip(CHANNELS, LEVELS, strict=True)]
    return [torch.rand(size).contiguous(memory_format=layout) for size in sizes]


@pytest.mark.parametrize("name", TRAFFIC)
def test_bytes_beside_the_convolutions(name):
    neck = PAIRS[name].ours().eval()
    given = maps()
    for module, most in zip((neck, neck.fuse()), TRAFFIC[name], strict=True):
        with traffic() as counted:
            run_ours(module, given)
        assert counted.over_the_convolutions <= most, counted.bytes.most_common(8)


def test_maps_in_another_layout_are_laid_out_once_each():
    neck = PAIRS["NAS-FPN x7 (mmdet)"].ours().eval()
    with traffic() as counted:
        run_ours(neck, maps(layout=torch.contiguous_format))
    assert counted.calls["clone"] <= 5  # p3 to p7


def test_a_map_is_resampled_once_for_all_cells_of_a_level():
    cells = [
        MergeCell(3, (1, 0)),
        MergeCell(3, (1, 3)),
        MergeCell(4, (0, 1)),
        MergeCell(4, (0, 5)),
        MergeCell(5, (2, 1)),
    ]
    neck = MergeNeck(Genotype((3, 4, 5), tuple(cells)), (8, 8, 8), (3, 4, 5), 8).eval()
    with traffic() as counted:
        neck(OrderedDict((f"c{level}", torch.rand(1, 8, 256 >> level, 256 >> level)) for level in (3, 4, 5)))
    assert counted.calls["upsample_nearest2d"] == 1
    assert counted.calls["max_pool2d_with_indices"] == 2  # p3 to level 4, p4 to level 5


def test_a_gate_is_computed_once_for_all_cells():
    cells = [MergeCell(3, (1, 0), "attention"), MergeCell(3, (1, 2), "attention"), MergeCell(4, (1, 0), "attention")]
    neck = MergeNeck(Genotype((3, 4), tuple(cells)), (8, 8), (3, 4), 8).eval()
    with traffic() as counted:
        neck(OrderedDict(c3=torch.rand(1, 8, 32, 32), c4=torch.rand(1, 8, 16, 16)))
    assert counted.calls["sigmoid"] == 1


def test_the_floor_has_every_convolution_with_the_shape_of_its_map():
    neck = build_neck("nas_fpn", in_channels=(6, 10, 14), out_channels=8, repeats=2).eval()
    given = OrderedDict(
        (f"c{level}", torch.rand(2, width, 64 >> level, 96 >> level))
        for level, width in zip((3, 4, 5), (6, 10, 14), strict=True)
    )
    calls = convolution_calls(neck, lambda: neck(given), torch.contiguous_format)
    assert len(calls) == sum(isinstance(module, nn.Conv2d) for module in neck.modules())
    assert calls[0][1].shape == given["c3"].shape
    floor = Convolutions(conv for conv, _ in calls)
    assert all(x.shape[0] == 2 for x in floor([x for _, x in calls]))


@pytest.mark.skipif(
    TorchVersion(torch.__version__) < "2.13", reason="PyTorch compiles pools of even and odd sides each"
)
def test_compiled_with_any_size_it_is_one_graph_that_is_kept():
    torch._dynamo.reset()
    counter = CompileCounter()
    neck = build_neck("nas_fpn", in_channels=(16, 16, 16), out_channels=16).eval()
    compiled = torch.compile(neck, fullgraph=True, dynamic=True, backend=counter)
    for height, width in ((320, 448), (384, 576), (352, 512)):  # two sides, as equal ones would be taken for one
        given = OrderedDict((f"c{level}", torch.rand(1, 16, height >> level, width >> level)) for level in (3, 4, 5))
        with torch.no_grad():
            for x, y in zip(compiled(given).values(), neck(given).values(), strict=True):
                torch.testing.assert_close(x, y, rtol=1e-5, atol=1e-5)
    assert counter.frame_count == 1
