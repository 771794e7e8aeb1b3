"""What holds for every neck: the conformance suite, files, errors."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

import pytest
import torch

from necks import NECKS, Neck, PassThrough, build_neck, load_exported, neck_from_dict, neck_to_dict, save_exported
from necks.straight import Straight
from necks.testing import NeckComputation, NeckTracing, assert_close, features, outputs
from tests.support.neck_cases import CASES, WIDTH, randomised

every_neck = pytest.mark.parametrize("name", CASES)
TRACED = [pytest.param(name, marks=[] if name in NECKS else pytest.mark.slow) for name in CASES]
"""Tracing takes seconds per neck; variants of a name are left to `-m slow`."""


class TestComputation(NeckComputation):
    @pytest.fixture(params=CASES)
    def make(self, request):
        return CASES[request.param]

    def randomise(self, neck):
        return randomised(neck)

    def may_be_idle(self, parameter):
        """The ReLU over an SFAM's few hidden values may be closed."""
        return super().may_be_idle(parameter) or "sfam" in parameter.split(".")


class TestTracing(NeckTracing):
    @pytest.fixture(params=TRACED)
    def make(self, request):
        return CASES[request.param]

    def randomise(self, neck):
        return randomised(neck)


@pytest.mark.slow
@every_neck
def test_compiled_by_inductor_it_gives_the_same(name):
    torch._dynamo.reset()
    neck = randomised(CASES[name]())
    maps = features(neck, (137, 211))
    assert_close(outputs(torch.compile(neck, fullgraph=True), maps), outputs(neck, maps), 1e-4)


@pytest.mark.gpu
@every_neck
def test_on_a_gpu_it_gives_the_same(name):
    neck = randomised(CASES[name]())
    maps = features(neck, (128, 192))
    expected = outputs(neck, maps)
    neck = neck.to("cuda", memory_format=torch.channels_last)
    there = OrderedDict((key, x.to("cuda", memory_format=torch.channels_last)) for key, x in maps.items())
    assert_close(OrderedDict((key, x.cpu()) for key, x in outputs(neck, there).items()), expected, 1e-2)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        assert_close(OrderedDict((key, x.cpu()) for key, x in outputs(neck, there).items()), expected, 0.1)


@every_neck
def test_fused_it_is_not_saved(name, tmp_path):
    with pytest.raises(ValueError, match="fused neck cannot be saved"):
        save_exported(CASES[name]().fuse(), tmp_path)


@every_neck
def test_in_training_it_computes_what_it_does_without_overwriting_maps(name):
    """Gradients are those of a neck that overwrites nothing, so nothing that a backward pass reads is overwritten."""
    neck = randomised(CASES[name]()).double().train()
    maps = OrderedDict((key, x.double()) for key, x in features(neck, (96, 160)).items())
    found = gradients(neck, maps)
    for part in neck.modules():
        if isinstance(part, Straight):
            steps = tuple(replace(step, overwrites=False) for step in part.program.steps)
            part.run_program(replace(part.program, steps=steps))
    for ours, theirs in zip(found, gradients(neck, maps), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def gradients(neck: Neck, maps: OrderedDict) -> list[torch.Tensor]:
    inputs = [x.clone().requires_grad_() for x in maps.values()]
    loss = sum(x.square().mean() for x in neck(OrderedDict(zip(maps, inputs, strict=True))).values())
    return list(torch.autograd.grad(loss, [*inputs, *neck.parameters()]))


@every_neck
def test_written_to_files_and_read_back_it_is_equal(name, tmp_path):
    neck = randomised(CASES[name]())
    maps = features(neck, (96, 160))
    save_exported(neck, tmp_path)
    loaded = load_exported(tmp_path)
    assert type(loaded) is type(neck)
    assert neck_to_dict(loaded) == neck_to_dict(neck)
    assert_close(outputs(loaded, maps), outputs(neck, maps), 0)


@every_neck
def test_the_same_arguments_give_the_same_parameters(name):
    neck = CASES[name]()
    again = neck_from_dict(neck_to_dict(neck))
    assert {key: x.shape for key, x in again.state_dict().items()} == {k: x.shape for k, x in neck.state_dict().items()}


every_name = pytest.mark.parametrize("name", NECKS)


@every_name
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": (8, 8), "in_levels": (3, 4, 5)}, "name the same maps"),
        ({"in_channels": (8, 8, 8), "in_levels": (5, 4, 3)}, "fine to coarse"),
        ({"in_channels": (8, 8, 8), "in_levels": (3, 3, 4)}, "fine to coarse"),
        ({"in_channels": (8, 0, 8), "in_levels": (3, 4, 5)}, "must be positive"),
        ({"in_channels": (), "in_levels": ()}, "name the same maps|fine to coarse"),
        (
            {"in_channels": (8, 8, 8), "in_levels": (3, 4, 5), "out_channels": 0},
            "must be positive|all of one width|^out_",
        ),
        ({"in_channels": (8, 8, 8), "in_levels": (3, 4, 5), "out_levels": ()}, "levels"),
    ],
)
def test_wrong_maps_are_refused_at_construction(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        build_neck(name, **{"out_channels": WIDTH, **arguments})


@every_name
def test_unknown_options_are_refused_with_those_that_there_are(name):
    with pytest.raises(ValueError, match=rf"{name} has no option seperable; it has "):
        build_neck(name, in_channels=(8, 8, 8), seperable=True)


def test_a_neck_of_another_class_is_not_exported(tmp_path):
    class Own(PassThrough):
        pass

    with pytest.raises(ValueError, match="a Own cannot be exported; exported are merge"):
        save_exported(Own((4,), (3,)), tmp_path)
    with pytest.raises(ValueError, match="unknown kind of neck 'own'"):
        neck_from_dict({"kind": "own"})
    with pytest.raises(ValueError, match="do not fit a neck of kind 'pass_through'"):
        neck_from_dict({"kind": "pass_through", "levels": [3]})
