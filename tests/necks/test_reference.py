"""Loading public weights: names of every version, prefixes, and strictness. Equality of outputs is tested elsewhere."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from torchvision.ops import FeaturePyramidNetwork

from necks import BalancedNeck, MergeNeck, Neck, build_neck
from necks.reference import SOURCES, WeightsError, load_reference
from tests.support.golden_files import read_golden
from tests.support.peer_cases import CASES, WIDTH
from tests.support.reference_weights import random_state


def ours(case: str) -> Neck:
    peer = CASES[case]
    return build_neck(
        peer.name, in_channels=peer.in_channels, in_levels=peer.in_levels, out_channels=WIDTH, **peer.arguments
    )


def theirs(case: str) -> dict[str, torch.Tensor]:
    return random_state(read_golden(CASES[case].source)[0]["shapes"][case])


def same_weights(one: Neck, other: Neck) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def torchvision_fpn() -> tuple[Neck, dict[str, torch.Tensor]]:
    neck = build_neck("fpn@torchvision", in_channels=(4, 6, 8), out_channels=8, extra="p6p7_p5")
    shapes = {name: value.shape for name, value in FeaturePyramidNetwork([4, 6, 8], 8).state_dict().items()}
    for name in ("p6", "p7"):
        shapes |= {f"extra_blocks.{name}.weight": (8, 8, 3, 3), f"extra_blocks.{name}.bias": (8,)}
    return neck, random_state(shapes)


def test_older_names_of_mmdetection_are_read():
    state = theirs("mmdet nasfpn")
    older = {name.replace("out_conv", "conv_out"): value for name, value in state.items()}
    assert older.keys() != state.keys()
    necks = [load_reference(ours("mmdet nasfpn"), names, "mmdet") for names in (older, state)]
    assert same_weights(*necks)


def test_older_names_of_torchvision_are_read():
    neck, state = torchvision_fpn()
    older = {re.sub(r"(blocks\.\d)\.0", r"\1", name): value for name, value in state.items()}
    assert "inner_blocks.0.weight" in older
    load_reference(neck, older, "torchvision")
    assert torch.equal(neck.stem.laterals[0].conv.weight, state["inner_blocks.0.0.weight"])


def test_mmdetection_1_has_no_bias_in_the_cells():
    """A norm follows, so a bias of zero computes the same."""
    state = {name: value for name, value in theirs("mmdet nasfpn").items() if not name.endswith("out_conv.conv.bias")}
    neck = load_reference(ours("mmdet nasfpn"), state, "mmdet")
    assert not any(cell.transform.conv.bias.any() for pyramid in neck.pyramids for cell in pyramid.cells)


@pytest.mark.parametrize(
    "prefix", ["neck.", "fpn.", "module.neck.", "backbone.fpn.", "model.module.neck.", "Conv_Body."]
)
def test_a_whole_detectors_weights_are_read_by_prefix(prefix):
    state = theirs("mmdet pafpn")
    whole = {prefix + name: value for name, value in state.items()}
    whole[f"{prefix.removesuffix('neck.')}bbox_head.weight" if "module" in prefix else "head.weight"] = torch.zeros(3)
    whole = {"meta": {"epoch": 3}, "state_dict": whole}
    assert same_weights(
        load_reference(ours("mmdet pafpn"), whole, "mmdet"), load_reference(ours("mmdet pafpn"), state, "mmdet")
    )


def test_counters_of_batches_may_be_missing():
    state = {name: value for name, value in theirs("effdet bifpn").items() if "num_batches" not in name}
    load_reference(ours("effdet bifpn"), state, "effdet")


def test_a_libra_checkpoint_is_a_sequence_of_two_necks():
    fpn, bfp = theirs("mmdet fpn, max-pool, norm"), theirs("mmdet bfp, non-local")
    neck = BalancedNeck(ours("mmdet fpn, max-pool, norm"))
    both = {f"neck.0.{name}": value for name, value in fpn.items()}
    both |= {f"neck.1.{name}": value for name, value in bfp.items()}
    load_reference(neck, both, "mmdet")
    assert same_weights(neck.neck, load_reference(ours("mmdet fpn, max-pool, norm"), fpn, "mmdet"))
    assert torch.equal(neck.refine.theta.weight, bfp["refine.theta.conv.weight"])


@pytest.mark.parametrize("case", [name for name, case in CASES.items() if case.source != "torchvision"])
def test_missing_left_over_and_misshaped_keys_are_listed(case):
    state = theirs(case)
    neck = ours(case)
    before = {name: value.clone() for name, value in neck.state_dict().items()}
    names = [name for name in state if name.endswith("conv.weight")]
    if len(names) < 2:
        with pytest.raises(WeightsError, match=r"left over: other\.weight"):
            load_reference(neck, {**state, "other.weight": torch.zeros(1)}, CASES[case].source)
        return
    state["other.weight"] = state.pop(names[0])
    state[names[1]] = torch.zeros(3)
    with pytest.raises(WeightsError) as refused:
        load_reference(neck, state, CASES[case].source)
    text = str(refused.value)
    assert "3 differences" in text
    assert re.search(rf"missing: .*{re.escape(names[0])}", text)
    assert "left over: other.weight" in text
    assert f"{names[1]} has shape (3,), here it is" in text
    assert all(torch.equal(value, before[name]) for name, value in neck.state_dict().items())


@pytest.mark.parametrize(
    ("name", "options", "source", "message"),
    [
        ("fpn", {}, "torchvision", "belong to {'activation': 'none'.*build it as fpn@torchvision"),
        ("bifpn", {}, "torchvision", "fit the graphs .*fpn.*build the neck as fpn@torchvision"),
        ("nas_fpn", {}, "mmdet", "'gate': 'avg_fine'.* this neck has .*'gate': 'max_coarse'.*nas_fpn@mmdet"),
        ("nas_fpn@mmdet", {}, "tf", "'gate': 'max_coarse'.*nas_fpn@tf"),
        ("bifpn", {}, "effdet", "'laterals': 'edges'.*bifpn@effdet"),
        ("panet", {}, "panet", "'down': 'conv'.*panet@authors"),
        ("pafpn@mmdet", {}, "panet", "fit the graphs .*panet"),
        ("efm", {}, "mmdet", "fit the graphs"),
        ("bifpn@effdet", {"order": "conv_norm_act"}, "effdet", "'order': 'act_conv_norm'"),
        ("bifpn@effdet", {"down": "max_pool3_same"}, "effdet", "'down': 'max_pool3'"),
        ("nas_fpn@mmdet", {"order": "conv_norm_act"}, "mmdet", "'order': 'act_conv_norm'"),
        ("fpn@torchvision", {"merge": "attention"}, "torchvision", "fit the graphs"),
        ("panet@authors", {"transform": "conv", "norm": "group", "norm_groups": 4}, "panet", "have no activation"),
        ("fpn", {}, "mmdet2", "unknown source 'mmdet2'; known are"),
    ],
)
def test_necks_of_other_conventions_are_refused(name, options, source, message):
    neck = build_neck(name, in_channels=(4, 6, 8), out_channels=8)
    if options:
        neck = changed(neck, **options)
    with pytest.raises(WeightsError, match=message):
        load_reference(neck, {}, source)


def changed(neck: Neck, merge: str | None = None, transform: str | None = None, **recipe: object) -> Neck:
    """The same wiring, computed in another way: pairs merged so, single inputs transformed so."""
    of_pairs, of_single = {"merge": merge} if merge else {}, {"transform": transform} if transform else {}
    cells = [replace(cell, **(of_pairs if len(cell.inputs) == 2 else of_single)) for cell in neck.genotype.cells]
    genotype = replace(neck.genotype, cells=tuple(cells))
    return MergeNeck(genotype, neck.in_channels, neck.in_levels, 8, recipe=replace(neck.recipe, **recipe))


def test_every_source_is_known():
    assert set(SOURCES) == {"torchvision", "mmdet", "effdet", "m2det", "asff", "panet", "tf"}
