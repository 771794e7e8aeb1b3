"""Our necks against public ones with the same weights: live where the package is installed, else against goldens.

Marked `bench`: needs the extra `bench` (mmdetection, effdet). `goldens/make_peers.py` says how the goldens were made.
"""

from __future__ import annotations

import pytest
import torch

from tests.support.golden_files import assert_equal_up_to_rounding, read_golden
from tests.support.peer_cases import CASES, our_outputs, peer_outputs, peer_state, sampled
from tests.support.reference_weights import random_state

SINGLE, DOUBLE = torch.float32, torch.float64
OVER_TWO_VALUES = {"mmdet pafpn, on output, group norm": 1e-3}
"""Rounding where a norm of a 1x1 map has groups of few values and magnifies it; in single precision alone."""
GOLDEN_CASES = [name for name, case in CASES.items() if case.source != "torchvision"]
LIVE_CASES = [
    pytest.param(name, marks=[] if case.source == "torchvision" else pytest.mark.bench) for name, case in CASES.items()
]


@pytest.mark.parametrize("dtype", [SINGLE, DOUBLE], ids=["single", "double"])
@pytest.mark.parametrize("name", LIVE_CASES)
def test_equals_the_public_module(name, dtype):
    case = CASES[name]
    for size in case.sizes:
        peer = case.peer(size)
        state = peer_state(peer, seed=3)
        theirs = peer_outputs(case, peer, state, size, 4, 2, dtype)
        ours = our_outputs(case, state, size, 4, 2, dtype)
        assert len(ours) == len(theirs)
        for x, y in zip(ours, theirs, strict=True):
            assert_equal_up_to_rounding(x, y, 1e-12 if dtype == DOUBLE else OVER_TWO_VALUES.get(name))


@pytest.mark.parametrize("dtype", [SINGLE, DOUBLE], ids=["single", "double"])
@pytest.mark.parametrize("name", GOLDEN_CASES)
def test_equals_the_golden_of_the_public_module(name, dtype):
    case = CASES[name]
    about, outputs = read_golden(case.source)
    state = random_state(about["shapes"][name], about["state_seed"])
    for size in case.sizes:
        ours = our_outputs(case, state, size, about["maps_seed"], about["batch"], dtype)
        theirs = [outputs[f"{name}_{size[0]}x{size[1]}_{index}"] for index in range(len(ours))]
        assert f"{name}_{size[0]}x{size[1]}_{len(ours)}" not in outputs
        for x, y in zip(ours, theirs, strict=True):
            sample = sampled(x, about["channel_stride"], about["pixel_stride"])
            assert_equal_up_to_rounding(sample, y, OVER_TWO_VALUES.get(name) if dtype == SINGLE else None)


def test_the_paddings_of_effdet_are_two_conventions():
    """With the same weights the two poolings differ visibly, so that neither golden passes with the other."""
    native, tf = (CASES[name] for name in ("effdet bifpn, sum", "effdet tf bifpn, sum"))
    about, _ = read_golden("effdet")
    state = random_state(about["shapes"]["effdet tf bifpn, sum"])
    without = {name: value for name, value in state.items() if name in about["shapes"]["effdet bifpn, sum"]}
    zeroed = {name: value if name in without else torch.zeros_like(value) for name, value in state.items()}
    pair = [our_outputs(case, weights, (128, 128), 0, 1, SINGLE) for case, weights in ((native, without), (tf, zeroed))]
    assert all((x - y).abs().max() > 0.1 for x, y in zip(*pair, strict=True))


def test_goldens_of_different_cases_differ():
    """A golden that another convention passes would show nothing."""
    _, outputs = read_golden("mmdet")
    for one, other, index in (
        ("mmdet fpn", "mmdet pafpn", 3),
        ("mmdet fpn, on input", "mmdet fpn, on output, relu", 4),
        ("mmdet bfp, none", "mmdet bfp, non-local", 0),
    ):
        assert abs(outputs[f"{one}_128x256_{index}"] - outputs[f"{other}_128x256_{index}"]).max() > 0.1
