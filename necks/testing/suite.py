"""The tests of the suite."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from necks.contract import Neck
from necks.testing.maps import SIZES, Make, assert_close, features, outputs


class Suite:
    """Base of the parts of the suite."""

    @pytest.fixture
    def make(self) -> Make:
        """The neck to test: a function without arguments that builds it; to be overridden."""
        raise NotImplementedError("override the fixture make: it returns a function that builds a neck")

    def randomise(self, neck: Neck) -> Neck:
        """Make every parameter and statistic count, those that start at 0 or 1 too; in evaluation mode."""
        for module in neck.modules():
            if isinstance(module, nn.BatchNorm2d) and module.track_running_stats:
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.5, 1.5)
        return neck.eval()

    def may_be_idle(self, parameter: str) -> bool:
        """True for a parameter whose gradient may be 0; a bias before a norm has no effect."""
        return parameter.endswith("bias")


class NeckComputation(Suite):
    """Tests of what a neck computes."""

    @pytest.mark.parametrize("size", SIZES, ids=str)
    def test_names_shapes_and_strides(self, make: Make, size: tuple[int, int]) -> None:
        neck = make()
        maps = features(neck, size)
        given = outputs(neck, maps)
        assert list(given) == [f"p{level}" for level in neck.out_levels]
        assert tuple(x.shape[:2] for x in given.values()) == tuple((2, width) for width in neck.level_channels)
        sides = [x.shape[-2:] for x in given.values()]
        assert sides[: len(maps)] == [x.shape[-2:] for x in maps.values()]
        beyond = list(pairwise(sides))[len(maps) - 1 :]
        for finer, coarser in beyond[:-1] if getattr(neck, "valid_top", False) else beyond:
            assert all(one in {max(1, side // 2), -(-side // 2)} for side, one in zip(finer, coarser, strict=True))

    def test_backbones_that_round_down_are_met_at_their_actual_size(self, make: Make) -> None:
        neck = make()
        maps = features(neck, (333, 500), round_up=False)
        given = outputs(neck, maps)
        assert all(torch.isfinite(x).all() for x in given.values())
        assert [x.shape[-2:] for x in given.values()][: len(maps)] == [x.shape[-2:] for x in maps.values()]

    def test_every_parameter_gets_a_finite_gradient(self, make: Make) -> None:
        neck = self.randomise(make()).train()
        torch.stack([x.square().mean() for x in neck(features(neck, (256, 192))).values()]).sum().backward()
        gradients = {key: value.grad for key, value in neck.named_parameters()}
        assert [key for key, x in gradients.items() if x is None or not x.isfinite().all()] == []
        assert [
            key for key, x in gradients.items() if x is not None and not x.any() and not self.may_be_idle(key)
        ] == []

    def test_the_callers_mapping_and_maps_are_left_alone(self, make: Make) -> None:
        neck = make()
        maps = features(neck, (128, 128))
        before = OrderedDict((key, x.clone()) for key, x in maps.items())
        outputs(neck, maps)
        assert list(maps) == list(before)
        assert all(torch.equal(maps[key], before[key]) for key in maps)

    def test_half_precision_and_channels_last_give_the_same(self, make: Make) -> None:
        neck = self.randomise(make())
        maps = features(neck, (128, 192))
        expected = outputs(neck, maps)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert_close(outputs(neck, maps), expected, 0.1)
        neck = neck.to(memory_format=torch.channels_last)
        last = OrderedDict((key, x.contiguous(memory_format=torch.channels_last)) for key, x in maps.items())
        assert_close(outputs(neck, last), expected, 1e-5)

    def test_fused_it_gives_the_same_and_is_a_copy(self, make: Make) -> None:
        neck = self.randomise(make()).train()
        maps = features(neck, (128, 192))
        before = {key: value.clone() for key, value in neck.state_dict().items()}
        fused = neck.fuse()
        assert_close(outputs(fused, maps), outputs(neck.eval(), maps), 1e-5)
        assert all(torch.equal(value, before[key]) for key, value in neck.state_dict().items())

    def test_maps_that_do_not_fit_are_named_in_the_error(self, make: Make) -> None:
        neck = make()
        maps = features(neck, (128, 128))
        maps.popitem()
        message = rf"this neck takes {len(neck.in_channels)} maps with \({neck.in_channels[0]}"
        with pytest.raises(ValueError, match=message):
            neck(maps)

    def test_coarse_first_and_lists_are_refused(self, make: Make) -> None:
        neck = make()
        maps = features(neck, (256, 256))
        if len(set(neck.in_channels)) == 1:
            with pytest.raises(ValueError, match="must run from fine to coarse, got heights"):
                neck(OrderedDict(reversed(maps.items())))
        with pytest.raises(ValueError, match="takes a mapping of maps, fine to coarse, got a list"):
            neck(list(maps.values()))


class NeckTracing(Suite):
    """Tests of `torch.compile` and `torch.export`, which take seconds per neck."""

    def test_compiles_in_one_graph_to_the_same(self, make: Make) -> None:
        torch._dynamo.reset()
        neck = self.randomise(make())
        compiled = torch.compile(neck, fullgraph=True, backend="eager")
        maps = features(neck, (137, 211))
        assert_close(outputs(compiled, maps), outputs(neck, maps), 1e-5)

    def test_exported_and_read_back_it_is_equal(self, make: Make, tmp_path: Path) -> None:
        neck = self.randomise(make())
        maps = features(neck, (128, 192))
        torch.export.save(torch.export.export(neck, (maps,)), tmp_path / "neck.pt2")
        loaded = torch.export.load(tmp_path / "neck.pt2").module()
        assert_close(outputs(loaded, maps), outputs(neck, maps), 1e-5)


class NeckConformance(NeckComputation, NeckTracing):
    """Tests of a neck; the fixture `make` returns a function that builds it."""
