"""A neck written to files and read back is the same neck."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import OrderedDict

import pytest
import torch

from necks import MergeNeck, Recipe, build_neck, load_exported, save_exported
from necks.exported import read_genotype
from search_space import KNOWN, nas_fpn_space
from search_space.references import trust
from tests.support.own_search import project_in


def trained(neck: MergeNeck, maps: OrderedDict) -> MergeNeck:
    """A few steps, so that weights, statistics and fusion weights are no longer the initial ones."""
    optimizer = torch.optim.SGD(neck.parameters(), 0.1)
    for _ in range(2):
        sum(x.square().mean() for x in neck(maps).values()).backward()
        optimizer.step()
    return neck.eval()


def maps() -> OrderedDict:
    return OrderedDict((f"c{level}", torch.randn(2, 3 * level, 64 >> level, 96 >> level)) for level in (3, 4, 5))


@pytest.mark.parametrize("name", [*KNOWN, "sampled"])
def test_round_trip_gives_equal_outputs(name, tmp_path):
    what = nas_fpn_space().sample(random.Random(1)) if name == "sampled" else name
    recipe = Recipe(activation="silu", separable=name == "bifpn")
    neck = build_neck(what, in_channels=(9, 12, 15), out_channels=8, repeats=2, recipe=recipe)
    x = maps()
    trained(neck, x)
    save_exported(neck, tmp_path / "neck")
    loaded = load_exported(tmp_path / "neck")
    assert not loaded.training
    assert loaded.genotype == neck.genotype
    for ours, theirs in zip(loaded(x).values(), neck(x).values(), strict=True):
        assert torch.equal(ours, theirs)


def test_weights_in_another_memory_layout_are_written_too(tmp_path):
    neck = build_neck("nas_fpn", in_channels=(9, 12, 15), out_channels=8).to(memory_format=torch.channels_last).eval()
    save_exported(neck, tmp_path)
    x = maps()
    for ours, theirs in zip(load_exported(tmp_path)(x).values(), neck(x).values(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_files_are_plain_and_loading_needs_nothing_of_the_search(tmp_path):
    save_exported(build_neck("nas_fpn", in_channels=(9, 12, 15), out_channels=8), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"genotype.json", "neck.json", "neck.safetensors"}
    assert json.loads((tmp_path / "genotype.json").read_text())["levels"] == [3, 4, 5, 6, 7]
    code = (
        "import sys, necks; necks.load_exported(sys.argv[1]);"
        "print(sorted({'ray', 'optuna', 'nas', 'controllers', 'torchvision', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["neck.json", "neck.safetensors"])
def test_a_missing_file_is_named(name, tmp_path):
    save_exported(build_neck("fpn", in_channels=(9, 12, 15), out_channels=8), tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ValueError, match=f"{name} missing"):
        load_exported(tmp_path)


def test_another_format_and_unknown_recipe_fields_are_refused(tmp_path):
    save_exported(build_neck("fpn", in_channels=(9, 12, 15), out_channels=8), tmp_path)
    arguments = json.loads((tmp_path / "neck.json").read_text())
    (tmp_path / "neck.json").write_text(json.dumps({**arguments, "format": 99}))
    with pytest.raises(ValueError, match="reads format 2"):
        load_exported(tmp_path)
    (tmp_path / "neck.json").write_text(json.dumps({**arguments, "recipe": 1}))
    with pytest.raises(ValueError, match="a recipe is a mapping of fields, got 1"):
        load_exported(tmp_path)
    (tmp_path / "neck.json").write_text(json.dumps({**arguments, "kind": "asff", "neck": 3}))
    with pytest.raises(ValueError, match="a neck is a mapping of its kind and arguments, got 3"):
        load_exported(tmp_path)
    arguments["recipe"]["norms"] = "batch"
    (tmp_path / "neck.json").write_text(json.dumps(arguments))
    with pytest.raises(ValueError, match="unknown fields"):
        load_exported(tmp_path)


@pytest.fixture
def exported(tmp_path):
    save_exported(build_neck("fpn", in_channels=(9, 12, 15), out_channels=8), tmp_path)
    return tmp_path


def test_genotype_and_neck_must_agree(exported):
    (exported / "genotype.json").write_text(build_neck("pafpn", in_channels=(9, 12, 15)).genotype.to_json())
    with pytest.raises(ValueError, match=r"genotype\.json and neck\.json beside it describe two necks"):
        load_exported(exported)
    with pytest.raises(ValueError, match="describe two necks"):
        read_genotype(exported)


def test_one_changed_bit_of_the_weights_is_noticed_where_their_checksum_is_known(exported):
    raw = bytearray((exported / "neck.safetensors").read_bytes())
    raw[-4] ^= 1
    (exported / "neck.safetensors").write_bytes(raw)
    with pytest.raises(ValueError, match=r"neck\.safetensors is not the file that was written .* SHA-256 differs"):
        load_exported(exported)
    arguments = json.loads((exported / "neck.json").read_text())
    del arguments["weights_sha256"]
    (exported / "neck.json").write_text(json.dumps(arguments))
    assert load_exported(exported).in_channels == (9, 12, 15)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"repeats": 10**9}, "repeats of a neck of kind 'merge' must be in 0..256"),
        ({"repeats": True}, "repeats of a neck of kind 'merge' cannot be True"),
        ({"repeats": "1"}, "cannot be '1'"),
        ({"out_channels": 10**12}, "out_channels of a neck of kind 'merge' must be in 0..8192"),
        ({"out_channels": 8.0}, "out_channels of a neck of kind 'merge' cannot be 8.0"),
        ({"in_channels": None}, "in_channels of a neck of kind 'merge' cannot be None"),
        ({"in_levels": [3, 4, 5.0]}, "in_levels of a neck of kind 'merge' cannot be"),
        ({"in_channels": [8192, 8192, 8192], "out_channels": 1024}, "weights of another neck"),
        ({"repeats": 2}, r"weights of another neck \(\d+ missing: pyramids\.1\."),
    ],
)
def test_arguments_that_cannot_be_cost_no_memory(exported, fields, message):
    arguments = json.loads((exported / "neck.json").read_text())
    (exported / "neck.json").write_text(json.dumps({**arguments, **fields}))
    with pytest.raises(ValueError, match=message):
        load_exported(exported)


OWN = """
from typing import Any

from necks import PassThrough


class Own(PassThrough):
    def __init__(self, in_channels: tuple[int, ...], in_levels: Any, hidden: int = 8, scale: float = 1.0) -> None:
        super().__init__(in_channels, in_levels)
        self.hidden, self.scale = hidden, scale
"""


def test_arguments_of_an_own_class_are_its_own_matter(tmp_path, monkeypatch):
    with project_in(tmp_path, monkeypatch, my_neck_of_any_arguments=OWN):
        trust([name := "my_neck_of_any_arguments:Own"])
        neck = build_neck(name, in_channels=(4, 8), in_levels=(3, 4), hidden=512, scale=2)
        save_exported(neck, tmp_path / "own")
        assert load_exported(tmp_path / "own").arguments() == {**neck.arguments(), "in_channels": (4, 8)}
        described = json.loads((tmp_path / "own/neck.json").read_text())
        (tmp_path / "own/neck.json").write_text(json.dumps({**described, "in_channels": [4, "8"]}))
        with pytest.raises(ValueError, match="channels must be whole numbers"):
            load_exported(tmp_path / "own")
