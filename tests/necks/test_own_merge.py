"""Merges of a user's own, by reference: in genotypes, spaces, necks, exports; never run unless trusted."""

from __future__ import annotations

import random
import sys
from collections import OrderedDict

import pytest
import torch

from nas.drawing.architecture import architecture
from nas.export.library import library_functions
from nas.export.python_file import write_python
from nas.results.compare import cell_lines
from necks import MergeNeck, load_exported, save_exported
from necks.exported import ExportedError
from necks.merge import FUNCTIONS, RESERVED
from necks.straight import NAMESPACE
from search_space import Genotype, GenotypeError, MergeCell, PyramidSpace, known, references
from search_space.references import BadReferenceError, trust
from tests.support.own_search import project_in

OPS = """
import torch

def max_maps(maps):
    return torch.stack(maps).amax(dim=0)

def sum_maps_2(maps):
    total = maps[0]
    for x in maps[1:]:
        total = total + x
    return total

def up(maps):
    return maps[0]

def max_pool(maps):
    return maps[0]

LIMIT = 3
"""


@pytest.fixture
def ops(tmp_path, monkeypatch):
    """The current directory, with `my_ops.py`, which is trusted."""
    with project_in(tmp_path, monkeypatch, my_ops=OPS) as directory:
        trust(["my_ops:max_maps", "my_ops:sum_maps_2", "my_ops:up", "my_ops:max_pool", "my_ops:LIMIT", "my_ops:gone"])
        FUNCTIONS.clear()
        yield directory
        FUNCTIONS.clear()


def with_merge(genotype: Genotype, merge: str) -> Genotype:
    cells = [MergeCell(cell.level, cell.inputs, merge, cell.transform) for cell in genotype.cells]
    return Genotype(genotype.levels, tuple(cells), genotype.merge_dangling)


def neck_of(genotype: Genotype) -> MergeNeck:
    torch.manual_seed(0)
    return MergeNeck(genotype, (8, 16, 32), (3, 4, 5), 8).eval()


def maps() -> OrderedDict[str, torch.Tensor]:
    torch.manual_seed(1)
    return OrderedDict((f"c{k}", torch.rand(2, 2**k, 200 >> k, 136 >> k)) for k in (3, 4, 5))


def assert_equal(ours, theirs) -> None:
    for name, x in ours.items():
        assert torch.equal(x, theirs[name]), name


def test_a_merge_that_computes_the_sum_gives_what_the_sum_gives(ops):
    ours, theirs = neck_of(with_merge(known.pafpn(), "my_ops:sum_maps_2")), neck_of(known.pafpn())
    ours.load_state_dict(theirs.state_dict())
    assert_equal(ours(maps()), theirs(maps()))


def test_it_is_searched_drawn_exported_and_loaded(ops, tmp_path):
    space = PyramidSpace(max_cells=8, merges=("sum", "my_ops:max_maps"))
    genotype = space.sample(random.Random(0))
    assert space.decode(space.encode(genotype)) == genotype
    assert "my_ops:max_maps" in {cell.merge for cell in genotype.cells}
    assert Genotype.from_json(genotype.to_json()) == genotype
    neck = neck_of(genotype)
    expected = neck(maps())
    save_exported(neck, tmp_path / "neck")
    assert_equal(load_exported(tmp_path / "neck")(maps()), expected)
    for name, x in neck.fuse()(maps()).items():
        assert torch.allclose(x, expected[name], atol=1e-5), name
    architecture(genotype).savefig(tmp_path / "cell.png")
    assert any("max_maps(" in line for line in cell_lines(genotype))


def test_the_python_file_has_its_source_and_needs_nothing_else(ops, tmp_path):
    neck = neck_of(with_merge(known.fpn(), "my_ops:max_maps"))
    (tmp_path / "file").mkdir()
    write_python(neck, tmp_path / "file")
    text = (tmp_path / "file" / "neck.py").read_text()
    assert "def max_maps(maps):" in text
    assert "my_ops" not in text.replace("my_ops:max_maps", "")
    names: dict = {}
    exec(compile(text, "neck.py", "exec"), names)
    assert_equal(names["load_neck"](str(tmp_path / "file" / "weights.pt")).eval()(maps()), neck(maps()))


def test_the_function_itself_is_taken_too(ops):
    max_maps = references.load_object("my_ops:max_maps")
    assert MergeCell(3, (0, 1), max_maps).merge == "my_ops:max_maps"
    assert PyramidSpace(max_cells=6, merges=("sum", max_maps)).size() > 0


def test_gradients_and_compile_go_through_it(ops):
    neck = neck_of(with_merge(known.fpn(), "my_ops:max_maps")).train()
    sum(x.sum() for x in neck(maps()).values()).backward()
    assert all(parameter.grad is not None for parameter in neck.parameters())


@pytest.mark.parametrize(
    ("merge", "message"),
    [
        ("my_ops:gone", "my_ops has no 'gone'; it has max_maps, max_pool, sum_maps_2, up"),
        ("my_ops:LIMIT", "the merge my_ops:LIMIT is not a function at the top level of a module"),
        ("my_ops:up", "the merge my_ops:up has the name of another function; rename it"),
        ("my_ops:max_pool", "the merge my_ops:max_pool has the name of another function; rename it"),
        ("os:getcwd", "os:getcwd names code that is not trusted"),
    ],
)
def test_what_is_no_merge_is_refused_when_the_neck_is_built(ops, merge, message):
    with pytest.raises(BadReferenceError, match=message):
        neck_of(with_merge(known.fpn(), merge))


@pytest.mark.parametrize("merge", ["max", "my ops:max", "my_ops:", ":max", "my_ops:max maps", "a:b:c", 3, None])
def test_other_text_is_no_merge(merge):
    with pytest.raises(GenotypeError, match=r"merge .* is unknown; allowed are .* and references"):
        with_merge(known.fpn(), merge)


def test_an_export_of_a_stranger_runs_nothing(ops, tmp_path, monkeypatch):
    save_exported(neck_of(with_merge(known.fpn(), "my_ops:max_maps")), tmp_path / "neck")
    (tmp_path / "my_ops.py").write_text("open('ran', 'w').close()\ndef max_maps(maps): return maps[0]\n")
    monkeypatch.setattr(references, "_trusted", set())
    FUNCTIONS.clear()
    sys.modules.pop("my_ops")
    with pytest.raises(ExportedError, match="my_ops:max_maps names code that is not trusted"):
        load_exported(tmp_path / "neck")
    assert not (tmp_path / "ran").exists()


def test_no_merge_may_have_a_name_that_programs_or_exported_files_use(ops):
    assert set(NAMESPACE) | {function.__name__ for function in library_functions()} <= RESERVED
