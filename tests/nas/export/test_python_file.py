"""The generated Python file: equal to the neck it was made of, formatted, and clear about what it cannot be."""

from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict
from dataclasses import fields

import pytest
import torch
from torch import nn

from nas.export.errors import ExportError
from nas.export.fold import fold_batch_norms
from nas.export.mmdet_file import mmdet_file
from nas.export.python_file import python_file, write_python
from nas.export.torchvision_file import torchvision_example
from necks import Recipe, build_neck
from search_space import KNOWN, Genotype, MergeCell
from search_space.node_names import node_names
from tests.support.neck_cases import randomised
from tests.support.random_necks import CHANNELS, random_neck

MERGE_GRAPHS = {
    **{name: {} for name in KNOWN},
    "fpn@torchvision": {"extra": "p6p7_c5", "norm": "batch"},
    "fpn@mmdet": {"extra": "p6p7_p5", "extra_relu": True},
    "pafpn@mmdet": {"extra": "max_pool", "norm": "batch"},
    "panet@authors": {"group_norm": True, "out_channels": 32},
    "nas_fpn@tf": {"separable": True, "repeats": 2},
    "nas_fpn@mmdet": {"repeats": 2},
    "bifpn@effdet": {"fusion": "softmax", "repeats": 3},
    "bifpn@effdet_tf": {"graph": "quad", "repeats": 2},
}
RULES = ["--isolated", "--line-length", "120"]
SELECT = "E,F,W,I,UP,B,C4,SIM,PIE,PTH,RUF,N,RET,TID"


def graph_neck(name):
    return randomised(build_neck(name, **{"in_channels": CHANNELS, "out_channels": 8, **MERGE_GRAPHS[name]}))


def maps(size, channels=CHANNELS, *, round_up=True):
    return OrderedDict(
        (f"c{level}", torch.randn(2, width, *(-(-side // 2**level) if round_up else side >> level for side in size)))
        for level, width in enumerate(channels, start=3)
    )


def built(file, neck):
    """The neck that the file describes, with its weights."""
    namespace = {"__name__": "generated"}
    exec(compile(file.text, "neck.py", "exec"), namespace)
    module = namespace["Neck"]()
    module.load_state_dict(file.weights(neck))
    return module.eval()


@torch.no_grad()
def assert_equal(neck, module, sizes=((133, 210), (64, 40)), tolerance=0.0, **options):
    for size in sizes:
        features = maps(size, **options)
        ours, theirs = neck(features), module(features)
        assert list(ours) == list(theirs)
        for x, y in zip(ours.values(), theirs.values(), strict=True):
            assert (x - y).abs().max() <= tolerance * y.abs().max()


@pytest.mark.parametrize("name", MERGE_GRAPHS)
def test_the_file_computes_what_the_neck_does(name):
    neck = graph_neck(name)
    assert_equal(neck, built(python_file(neck), neck), sizes=((133, 210), (64, 40), (256, 256)))


def test_random_necks_equal_their_files_and_these_are_formatted(tmp_path):
    torch.manual_seed(0)
    for seed in range(60):
        neck = random_neck(seed)
        file = python_file(neck)
        (tmp_path / f"neck_{seed}.py").write_text(file.text)
        assert_equal(neck, built(file, neck), round_up=seed % 3 > 0)
    assert_clean(tmp_path)


def assert_clean(directory):
    for command in (["check", "--select", SELECT, "--ignore", "N812"], ["format", "--check", "--diff"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *command, *RULES], cwd=directory, capture_output=True)
        assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


def test_known_necks_are_formatted_in_every_kind_of_file(tmp_path):
    for name in MERGE_GRAPHS:
        neck = graph_neck(name)
        stem = name.replace("@", "_")
        (tmp_path / f"{stem}.py").write_text(python_file(neck).text)
        (tmp_path / f"{stem}_mmdet.py").write_text(mmdet_file(neck).text)
        (tmp_path / "neck.py").write_text("")
        (tmp_path / f"{stem}_torchvision.py").write_text(torchvision_example(neck))
    assert_clean(tmp_path)


@pytest.mark.parametrize("name", ["nas_fpn", "bifpn@effdet", "nas_fpn@tf"])
def test_a_folded_neck_has_a_file_without_norms(name):
    neck = graph_neck(name)
    folded = fold_batch_norms(neck)
    file = python_file(folded)
    assert "BatchNorm" not in file.text
    assert_equal(neck, built(file, folded), tolerance=1e-5)


def test_a_fused_neck_is_refused_with_a_way_out():
    with pytest.raises(ExportError, match="of a fused neck; take the neck that it was made from"):
        python_file(graph_neck("bifpn@effdet").fuse())


def test_the_docstring_draws_the_published_cell():
    lines = python_file(graph_neck("nas_fpn")).text.splitlines()
    assert lines[0] == '"""A feature-pyramid neck: 7 merge cells over P3..P7, 8 channels.'
    start = next(index for index, line in enumerate(lines) if line.startswith("    P7"))
    assert lines[start : start + 10] == [
        "    P7  p7                                                [p7_out]",
        "    P6  p6                                                          [p6_out]",
        "    P5  p5                                      [p5_out]",
        "    P4  p4  [p4_a]  [p4_b]            [p4_out]",
        "    P3  p3                  [p3_out]",
        "",
        "            gated   sum     sum       sum       gated     gated     gated",
        "            p4      p4      p3        p4_b      p3_out    p4_b      p5_out",
        "            p6      p4_a    p4_b      p3_out    p4_out    p5_out    p7_out",
        "                                                + p5      + p7",
    ]


def test_weights_are_read_without_pickles(tmp_path):
    neck = graph_neck("nas_fpn")
    write_python(neck, tmp_path)
    weights = torch.load(tmp_path / "weights.pt", weights_only=True)
    assert {name.partition(".")[0] for name in weights} == {"lateral3", "lateral5", "pyramid"}  # C4 has the width
    assert len(weights) == len(neck.state_dict())


def test_names_of_many_cells_and_of_dead_ones():
    cells = [MergeCell(4, (0, 1 + index)) for index in range(30)]
    names = node_names(Genotype((3, 4), tuple(cells)))
    assert [names[node] for node in (2, 27, 28, 31)] == ["p4_a", "p4_z", "p4_aa", "p4_out"]
    dead = Genotype((3, 4), (MergeCell(4, (0, 1)), MergeCell(4, (0, 1))))
    assert node_names(dead) == {0: "p3", 1: "p4", 3: "p4_out"}


@pytest.mark.parametrize("name", ["balanced_fpn", "asff", "mlfpn", "efm"])
def test_necks_that_are_no_merge_graphs_are_refused_with_a_way_out(name):
    neck = build_neck(name, in_channels=CHANNELS, out_channels=16)
    for make in (python_file, mmdet_file, torchvision_example):
        with pytest.raises(ExportError, match=rf"not of a {type(neck).__name__}; take another format: onnx or pt2"):
            make(neck)


def test_a_neck_changed_by_hand_is_refused():
    neck = graph_neck("fpn")
    neck.pyramids[0].cells[-1].transform.conv = nn.Conv2d(8, 8, 5, padding=2)
    with pytest.raises(ExportError, match="the blocks conv_block of this neck differ"):
        python_file(neck)
    neck.pyramids[0].cells[-1].transform.conv = nn.ConvTranspose2d(8, 8, 3, padding=1)
    with pytest.raises(ExportError, match="a ConvTranspose2d cannot be written as source"):
        python_file(neck)


def test_every_field_of_a_recipe_was_varied():
    made = [random_neck(seed).recipe for seed in range(60)]
    fixed = {"norm_eps", "norm_momentum", "norm_groups"}
    assert all(
        len({getattr(recipe, field.name) for recipe in made}) > 1 or field.name in fixed for field in fields(Recipe)
    )
