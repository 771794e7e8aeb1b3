"""MLFPN and ASFF against outputs of the authors' code, through its key names (`goldens/make_m2det.py`, `make_asff.py`).

Goldens were computed in float64 and stored in float32, whose rounding is all that a comparison in float64 allows for.
"""

from __future__ import annotations

import re

import pytest
import torch

from necks.asff import AsffNeck
from necks.contract import PassThrough
from necks.mlfpn import MlfpnNeck
from necks.reference import WeightsError, load_reference
from tests.support.golden_files import ROUNDING, assert_equal_up_to_rounding, read_golden
from tests.support.reference_weights import random_maps, random_state

M2DET, M2DET_OUTPUTS = read_golden("m2det")
ASFF, ASFF_OUTPUTS = read_golden("asff")


def m2det_state(case):
    """The golden's weights, where shared modules have the values of copy 0."""
    about = M2DET["cases"][case]
    shapes = M2DET["shapes"]["released" if case == "released" else "sfam"]
    state = random_state(
        {name: shape for name, shape in shapes.items() if about["sfam"] or not name.startswith("sfam_module")},
        M2DET["state_seed"],
    )
    copies = re.compile(rf"^({'|'.join(map(re.escape, M2DET['shared']))})\.\d+")
    return {name: state[copies.sub(r"\1.0", name) if about["shared"] else name] for name in state}


def m2det_neck(case):
    about = M2DET["cases"][case]
    arguments = {key: about[key] for key in ("in_channels", "out_channels", "sfam", "shared")}
    return MlfpnNeck(
        **arguments, in_levels=M2DET["in_levels"], out_levels=M2DET["out_levels"], tums=M2DET["tums"], valid_top=True
    )


def small_mlfpn(**arguments):
    return MlfpnNeck((6, 10), (3, 4), 16, (3, 4, 5), tums=2, valid_top=True, **arguments)


def small_m2det_state(shared):
    """The authors' names for `small_mlfpn`, with the values of copy 0 in shared modules."""
    units = {"reduce": (8, 6, 3), "up_reduce": (16, 10, 1)}
    units |= {f"leach.{index}": (4, 24, 1) for index in range(2)}
    for index, width in enumerate((4, 12)):
        sides = {"layers.0": (width, 3), "layers.1": (8, 3), "toplayer.0": (8, 1)}
        sides |= {"latlayer.0": (8, 3), "latlayer.1": (width, 3), "smooth.0": (8, 1), "smooth.1": (8, 1)}
        units |= {f"unet{index + 1}.{name}": (8, *side) for name, side in sides.items()}
    shapes = {"Norm.weight": (16,), "Norm.bias": (16,), "Norm.running_mean": (16,), "Norm.running_var": (16,)}
    for name, (out, width, kernel) in units.items():
        shapes[f"{name}.conv.weight"] = (out, width, kernel, kernel)
        shapes |= {f"{name}.bn.{tail}": (out,) for tail in ("weight", "bias", "running_mean", "running_var")}
    for scale in range(3):
        shapes |= {f"sfam_module.fc1.{scale}.weight": (1, 16, 1, 1), f"sfam_module.fc1.{scale}.bias": (1,)}
        shapes |= {f"sfam_module.fc2.{scale}.weight": (16, 1, 1, 1), f"sfam_module.fc2.{scale}.bias": (16,)}
    state = random_state(shapes)
    return {name: state[re.sub(r"^(leach|.*fc[12])\.\d", r"\1.0", name) if shared else name] for name in state}


def asff_neck(case):
    about = ASFF["cases"][case]
    return AsffNeck(
        PassThrough(about["in_channels"], ASFF["levels"]),
        weight_channels=8 if about["rfb"] else 16,
        expanded=ASFF["expanded"],
        activation="relu6" if about["kind"] == "ASFFmobile" else "leaky_relu",
    )


@torch.no_grad()
def run(neck, about, golden, dtype):
    maps = random_maps(neck.in_channels, about["sizes"], golden["maps_seed"], golden["batch"])
    return neck.to(dtype).eval()({name: x.to(dtype) for name, x in maps.items()})


def assert_equal(outputs, golden, case, channel_stride, pixel_stride=1):
    assert [f"{case}_{name}" for name in outputs] == sorted(name for name in golden if name.startswith(f"{case}_"))
    for name, x in outputs.items():
        sample = x[:, ::channel_stride, ::pixel_stride, ::pixel_stride]
        assert_equal_up_to_rounding(sample, golden[f"{case}_{name}"])


@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@pytest.mark.parametrize("case", [pytest.param("released", marks=pytest.mark.slow), "plain", "sfam", "unshared"])
def test_mlfpn_gives_what_m2det_gives(case, dtype):
    about = M2DET["cases"][case]
    neck = load_reference(m2det_neck(case), m2det_state(case), "m2det")
    outputs = run(neck, about, M2DET, dtype)
    assert_equal(outputs, M2DET_OUTPUTS, case, about["channel_stride"], M2DET["pixel_stride"])


@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@pytest.mark.parametrize("case", ASFF["cases"])
def test_asff_gives_what_the_authors_gives(case, dtype):
    state = random_state(ASFF["shapes"][case], ASFF["state_seed"])
    outputs = run(load_reference(asff_neck(case), state, "asff"), ASFF["cases"][case], ASFF, dtype)
    assert_equal(outputs, ASFF_OUTPUTS, case, ASFF["channel_stride"])


def test_an_unshared_mlfpn_takes_the_shared_weights_as_equal_copies():
    state = small_m2det_state(shared=True)
    maps = random_maps((6, 10), [(16, 12), (8, 6)])
    with torch.no_grad():
        necks = [load_reference(small_mlfpn(shared=shared).eval(), state, "m2det") for shared in (True, False)]
        shared, unshared = (neck(maps) for neck in necks)
    assert all(torch.equal(shared[name], unshared[name]) for name in shared)


def test_a_shared_mlfpn_refuses_copies_that_differ():
    state = small_m2det_state(shared=False)
    load_reference(small_mlfpn(), state, "m2det")
    with pytest.raises(WeightsError) as refused:
        load_reference(small_mlfpn(shared=True), state, "m2det")
    assert "leach.1.conv.weight differs from leach.0.conv.weight" in str(refused.value)
    assert "sfam_module.fc2.2.bias differs from sfam_module.fc2.0.bias" in str(refused.value)


def test_m2det_lists_what_is_missing_and_left_over():
    state = small_m2det_state(shared=False)
    state["extra.conv.weight"] = state.pop("unet2.latlayer.1.conv.weight")
    neck = small_mlfpn(sfam=False)
    before = {name: value.clone() for name, value in neck.state_dict().items()}
    with pytest.raises(WeightsError, match=r"14 differences") as refused:
        load_reference(neck, state, "m2det")
    assert "missing: unet2.latlayer.1.conv.weight" in str(refused.value)
    assert "left over: extra.conv.weight" in str(refused.value)
    assert "left over: sfam_module.fc1.0.bias" in str(refused.value)
    assert all(torch.equal(value, before[name]) for name, value in neck.state_dict().items())


def test_asff_lists_what_is_missing_left_over_and_misshaped():
    state = random_state(ASFF["shapes"]["yolov3"])
    state["level_2_fusion.compress_level_1.conv.weight"] = state.pop("level_2_fusion.compress_level_0.conv.weight")
    state["level_0_fusion.weight_levels.bias"] = torch.zeros(4)
    with pytest.raises(WeightsError, match=r"3 differences") as refused:
        load_reference(asff_neck("yolov3"), state, "asff")
    assert "missing: level_2_fusion.compress_level_0.conv.weight" in str(refused.value)
    assert "left over: level_2_fusion.compress_level_1.conv.weight" in str(refused.value)
    assert "level_0_fusion.weight_levels.bias has shape (4,), here it is (3,)" in str(refused.value)


@pytest.mark.parametrize(
    ("neck", "source", "message"),
    [
        (MlfpnNeck((6, 10), (3, 4), 16, (3, 4, 5), tums=2), "m2det", "MlfpnNeck with 2 inputs and valid_top=False"),
        (MlfpnNeck((6,), (3,), 16, (3, 4, 5), tums=2, valid_top=True), "m2det", "with 1 inputs"),
        (PassThrough((6, 10), (3, 4)), "m2det", "got PassThrough"),
        (PassThrough((6, 10), (3, 4)), "asff", "got PassThrough on NoneType of 2"),
        (AsffNeck(PassThrough((6, 10), (3, 4))), "asff", "got AsffNeck on PassThrough of 2"),
        (AsffNeck(small_mlfpn()), "asff", "got AsffNeck on MlfpnNeck of 3"),
    ],
)
def test_necks_that_the_authors_code_has_no_weights_for_are_refused(neck, source, message):
    with pytest.raises(WeightsError, match=message):
        load_reference(neck, {}, source)
