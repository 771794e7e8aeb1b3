"""Weights of a training that diverged: neither saved nor loaded, and no comparison passes over NaN."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file

from nas.export.errors import ExportError
from nas.export.formats import _compared
from nas.export.graphs import largest_difference, neck_graph
from nas.export.sources import neck_source
from necks import build_neck, load_exported, save_exported
from necks.exported import DIGEST, NECK_FILE, WEIGHTS_FILE


@pytest.fixture
def neck():
    return build_neck("fpn", in_channels=(4, 4, 4), out_channels=4)


@pytest.fixture(params=[math.nan, math.inf])
def name(request, neck):
    name, value = next((n, v) for n, v in neck.state_dict().items() if v.is_floating_point() and v.dim() == 4)
    value[0, 0, 0, 0] = request.param
    return name


def test_a_neck_that_is_not_finite_is_not_saved(neck, name, tmp_path):
    with pytest.raises(ValueError, match=rf"not finite in 1 tensors \({name}\)"):
        save_exported(neck, tmp_path / "neck")
    assert not (tmp_path / "neck").exists()


def test_files_that_are_not_finite_are_not_loaded_or_exported(tmp_path, neck):
    """Of an export from before the weights' SHA-256 was written."""
    save_exported(neck, tmp_path)
    description = json.loads((tmp_path / NECK_FILE).read_text())
    del description[DIGEST]
    (tmp_path / NECK_FILE).write_text(json.dumps(description))
    weights = load_file(tmp_path / WEIGHTS_FILE)
    name = next(name for name, value in weights.items() if value.is_floating_point())
    weights[name].view(-1)[0] = math.nan
    save_file(weights, tmp_path / WEIGHTS_FILE)
    with pytest.raises(ValueError, match=rf"not finite in 1 tensors \({name}\)"):
        load_exported(tmp_path)
    with pytest.raises(ExportError, match=rf"not finite in 1 tensors \({name}\)") as caught:
        neck_source(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", [0, 1])
def test_a_difference_that_is_nan_is_not_passed_over(place):
    ours = [torch.ones(2), torch.ones(2)]
    ours[place][1] = math.nan
    assert math.isnan(largest_difference(ours, [torch.ones(2), torch.ones(2)]))


@pytest.mark.parametrize("wrong", [0, 1])
def test_an_exported_graph_that_gives_nan_is_refused(neck, tmp_path, wrong):
    graph = neck_graph(neck.eval())
    sizes = list(graph.sizes)

    def run(inputs):
        outputs = [x.clone() for x in graph.module(*inputs).values()]
        if inputs[0].shape == graph.inputs(sizes[wrong % len(sizes)])[0].shape:
            outputs[-1][0, 0, 0, 0] = math.nan
        return outputs

    with torch.no_grad(), pytest.raises(ExportError, match="differ from the trained module's by nan"):
        _compared(graph, tmp_path / "neck.onnx", lambda path: run)
