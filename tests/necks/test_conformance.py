"""What holds for every neck: names, sizes, gradients, memory formats, compilation, export, files, errors."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise

import pytest
import torch

from necks import NECKS, Neck, PassThrough, build_neck, load_exported, neck_from_dict, neck_to_dict, save_exported
from tests.support.neck_cases import CASES, SIZES, WIDTH, features, randomised

every_neck = pytest.mark.parametrize("name", CASES)
traced_neck = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in NECKS else pytest.mark.slow) for name in CASES]
)
"""Tracing takes seconds per neck; variants of a name are left to `-m slow`."""


ROUNDING = 1e-5
"""Share of a map's largest value by which two orders of summing up may differ: convolutions choose theirs by the layout
of weights and by the processor's instructions."""


def assert_close(ours: OrderedDict, theirs: OrderedDict, tolerance: float) -> None:
    """Within `tolerance` of the largest value of each map."""
    assert list(ours) == list(theirs)
    for x, y in zip(ours.values(), theirs.values(), strict=True):
        assert (x.float() - y.float()).abs().max() <= tolerance * y.abs().max().float()


@torch.no_grad()
def outputs(neck: Neck, maps: OrderedDict) -> OrderedDict:
    return neck(maps)


@every_neck
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_names_shapes_and_strides(name, size):
    neck = CASES[name]()
    maps = features(neck, size)
    given = outputs(neck, maps)
    assert list(given) == [f"p{level}" for level in neck.out_levels]
    assert tuple(x.shape[:2] for x in given.values()) == tuple((2, width) for width in neck.level_channels)
    sides = [x.shape[-2:] for x in given.values()]
    assert sides[: len(maps)] == [x.shape[-2:] for x in maps.values()]
    beyond = list(pairwise(sides))[len(maps) - 1 :]
    for finer, coarser in beyond[:-1] if getattr(neck, "valid_top", False) else beyond:
        assert all(one in {max(1, side // 2), -(-side // 2)} for side, one in zip(finer, coarser, strict=True))


@every_neck
def test_backbones_that_round_down_are_met_at_their_actual_size(name):
    neck = CASES[name]()
    maps = features(neck, (333, 500), round_up=False)
    given = outputs(neck, maps)
    assert all(torch.isfinite(x).all() for x in given.values())
    assert [x.shape[-2:] for x in given.values()][: len(maps)] == [x.shape[-2:] for x in maps.values()]


@every_neck
def test_every_parameter_gets_a_finite_gradient(name):
    neck = randomised(CASES[name]()).train()
    sum(x.square().mean() for x in neck(features(neck, (256, 192))).values()).backward()
    wrong = [key for key, value in neck.named_parameters() if value.grad is None or not value.grad.isfinite().all()]
    assert not wrong
    silent = [key for key, value in neck.named_parameters() if not value.grad.any() and not _may_be_zero(key)]
    assert not silent


def _may_be_zero(key: str) -> bool:
    """A bias before a norm has no effect; the ReLU over an SFAM's few hidden values may be closed."""
    return key.endswith("bias") or key.startswith("sfam.") or ".sfam." in key


@every_neck
def test_the_callers_mapping_and_maps_are_left_alone(name):
    neck = CASES[name]()
    maps = features(neck, (128, 128))
    before = OrderedDict((key, x.clone()) for key, x in maps.items())
    outputs(neck, maps)
    assert list(maps) == list(before)
    assert all(torch.equal(maps[key], before[key]) for key in maps)


@every_neck
def test_half_precision_and_channels_last_give_the_same(name):
    neck = randomised(CASES[name]())
    maps = features(neck, (128, 192))
    expected = outputs(neck, maps)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_close(outputs(neck, maps), expected, 0.1)
    neck = neck.to(memory_format=torch.channels_last)
    last = OrderedDict((key, x.contiguous(memory_format=torch.channels_last)) for key, x in maps.items())
    assert_close(outputs(neck, last), expected, 1e-5)


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


@traced_neck
@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiles_in_one_graph_to_the_same(name, backend):
    torch._dynamo.reset()
    neck = randomised(CASES[name]())
    compiled = torch.compile(neck, fullgraph=True, backend=backend)
    maps = features(neck, (137, 211))
    assert_close(outputs(compiled, maps), outputs(neck, maps), 1e-4 if backend == "inductor" else 1e-5)


@traced_neck
def test_exported_and_read_back_it_is_equal(name, tmp_path):
    neck = randomised(CASES[name]())
    maps = features(neck, (128, 192))
    torch.export.save(torch.export.export(neck, (maps,)), tmp_path / "neck.pt2")
    loaded = torch.export.load(tmp_path / "neck.pt2").module()
    assert_close(outputs(loaded, maps), outputs(neck, maps), ROUNDING)


@every_neck
def test_fused_it_gives_the_same_and_is_a_copy_that_is_not_saved(name, tmp_path):
    neck = randomised(CASES[name]()).train()
    maps = features(neck, (128, 192))
    before = {key: value.clone() for key, value in neck.state_dict().items()}
    fused = neck.fuse()
    assert_close(outputs(fused, maps), outputs(neck.eval(), maps), 1e-5)
    assert all(torch.equal(value, before[key]) for key, value in neck.state_dict().items())
    with pytest.raises(ValueError, match="fused neck cannot be saved"):
        save_exported(fused, tmp_path)


@every_neck
def test_in_training_it_computes_what_it_does_without_overwriting_maps(name, monkeypatch):
    """Gradients are those of a neck that owns no map, so nothing that a backward pass reads is overwritten."""
    neck = randomised(CASES[name]()).double().train()
    maps = OrderedDict((key, x.double()) for key, x in features(neck, (96, 160)).items())
    found = gradients(neck, maps)
    monkeypatch.setattr("necks.edge.Owned.__new__", lambda cls, x, owned: tuple.__new__(cls, (x, False)))
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


@every_neck
def test_maps_that_do_not_fit_are_named_in_the_error(name):
    neck = CASES[name]()
    maps = features(neck, (128, 128))
    maps.popitem()
    with pytest.raises(ValueError, match=rf"this neck takes {len(neck.in_channels)} maps with \({neck.in_channels[0]}"):
        neck(maps)


every_name = pytest.mark.parametrize("name", NECKS)


@every_neck
def test_coarse_first_and_lists_are_refused(name):
    neck = CASES[name]()
    maps = features(neck, (256, 256))
    if len(set(neck.in_channels)) == 1:
        with pytest.raises(ValueError, match="must run from fine to coarse, got heights"):
            neck(OrderedDict(reversed(maps.items())))
    with pytest.raises(ValueError, match="takes a mapping of maps, fine to coarse, got a list"):
        neck(list(maps.values()))


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
