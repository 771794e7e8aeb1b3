"""ONNX and pt2 files of necks and detectors: equal to the trained module at any size, alone in their process."""

from __future__ import annotations

import re
from collections import OrderedDict

import numpy as np
import pytest
import torch

from nas.detection.config import BackboneConfig, HeadConfig
from nas.detection.saved import DetectorSpec, build_from_spec
from nas.export import errors
from nas.export.errors import ExportError
from nas.export.fold import fold_batch_norms
from nas.export.graphs import detector_graph, largest_difference, neck_graph
from nas.export.onnx_file import read_onnx, write_onnx
from nas.export.pt2_file import read_pt2, traced, write_pt2
from nas.export.python_file import write_python
from nas.export.same_padding import with_fixed_padding
from necks import NECKS, PassThrough, build_neck
from necks.exported import neck_to_dict
from tests.support.export_tools import CHANNELS, OURS, SIZES, maps_of_photographs, run_alone, trained, trained_nas_fpn

TOLERANCE = 1e-4
BESIDES_TORCH = (*OURS, "torchvision", "safetensors", "pydantic", "ray", "optuna")  # PyTorch itself looks for onnx

WITH_TORCH = """
import importlib.util
import torch
maps = torch.load("maps.pt", weights_only=True)
expected = torch.load("expected.pt", weights_only=True)
spec = importlib.util.spec_from_file_location("neck", "neck.py")
generated = importlib.util.module_from_spec(spec)
spec.loader.exec_module(generated)
python = generated.load_neck("weights.pt")
traced = torch.export.load("neck.pt2").module()
with torch.no_grad():
    for given, wanted in zip(maps, expected, strict=True):
        for found in (python(given), traced(*given.values())):
            assert list(found) == list(wanted)
            print(max(float((found[name] - wanted[name]).abs().max()) for name in wanted))
"""

WITH_ONNXRUNTIME = """
import numpy
import onnxruntime
session = onnxruntime.InferenceSession("neck.onnx")
for index in range(3):
    file = numpy.load(f"{index}.npz")
    inputs = {entry.name: file[entry.name] for entry in session.get_inputs()}
    names = [entry.name for entry in session.get_outputs()]
    found = dict(zip(names, session.run(names, inputs), strict=True))
    print(max(float(abs(found[name] - file[name]).max()) for name in names))
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A trained neck in every format, with maps of photographs at three sizes and what the neck gives for them."""
    directory = tmp_path_factory.mktemp("exported")
    neck = trained_nas_fpn()
    write_python(neck, directory)
    write_pt2(neck_graph(neck), directory / "neck.pt2")
    maps = maps_of_photographs()
    with torch.no_grad():
        expected = [neck(given) for given in maps]
    torch.save(maps, directory / "maps.pt")
    torch.save(expected, directory / "expected.pt")
    for index, (given, wanted) in enumerate(zip(maps, expected, strict=True)):
        arrays = {name: x.numpy() for name, x in {**given, **wanted}.items()}
        np.savez(directory / f"{index}.npz", **arrays)
    return directory, neck


def test_python_file_and_pt2_run_where_only_torch_can_be_imported(exported):
    directory, _ = exported
    differences = [float(line) for line in run_alone(WITH_TORCH, BESIDES_TORCH, directory).splitlines()]
    assert len(differences) == 2 * len(SIZES)
    assert max(differences) <= TOLERANCE


def test_onnx_runs_where_only_onnxruntime_can_be_imported(exported):
    pytest.importorskip("onnxruntime")
    directory, neck = exported
    write_onnx(neck_graph(neck), directory / "neck.onnx")
    lines = run_alone(WITH_ONNXRUNTIME, ("torch", "onnx", "onnxscript", *BESIDES_TORCH), directory).splitlines()
    assert len(lines) == len(SIZES)
    assert max(map(float, lines)) <= TOLERANCE


def small(name, **options):
    return trained(build_neck(name, in_channels=(6, 10, 14), out_channels=8, **options))


@pytest.mark.parametrize(
    "name", ["nas_fpn@mmdet", "balanced_fpn", *(pytest.param(name, marks=pytest.mark.slow) for name in NECKS)]
)
def test_a_trace_fits_any_size(name):
    neck = _buildable(name)
    graph = neck_graph(neck)
    program = traced(graph).module()
    for size in graph.sizes:
        inputs = graph.inputs(size)
        with torch.no_grad():
            assert (
                largest_difference(list(program(*inputs).values()), list(graph.module(*inputs).values())) <= TOLERANCE
            )


def test_dimensions_of_onnx_files_have_names(tmp_path):
    onnx = pytest.importorskip("onnx")
    graph = neck_graph(small("pafpn"))
    program = onnx.load(write_onnx(graph, tmp_path / "neck.onnx")).graph
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*program.input, *program.output, *program.value_info)
    }
    assert shapes["c3"] == ["batch", 6, "c3_height", "c3_width"]
    assert shapes["c5"] == ["batch", 14, "c5_height", "c5_width"]
    assert shapes["p7"] == ["batch", 8, "p7_height", "p7_width"]
    assert not [shape for shape in shapes.values() if re.search(r"\bs\d+\b", str(shape))]


@pytest.mark.slow
@pytest.mark.parametrize("name", NECKS)
def test_onnx_of_every_neck_fits_any_size(name, tmp_path):
    pytest.importorskip("onnxruntime")
    graph = neck_graph(_buildable(name))
    compute = read_onnx(write_onnx(graph, tmp_path / "neck.onnx"))
    for size in graph.sizes:
        inputs = graph.inputs(size, batch=3)
        with torch.no_grad():
            assert largest_difference(compute(inputs), list(graph.module(*inputs).values())) <= TOLERANCE


def _buildable(name):
    special = {
        "balanced@mmdet": {"in_channels": (8,) * 5, "in_levels": (3, 4, 5, 6, 7)},
        "asff@yolov3": {"in_channels": (6, 6, 12)},
        "mlfpn": {"tums": 2},
        "mlfpn@m2det": {"in_channels": (6, 10), "in_levels": (3, 4), "out_levels": (3, 4, 5, 6), "tums": 2},
    }
    return build_neck(name, **{"in_channels": (6, 10, 14), "out_channels": 8, **special.get(name, {})}).eval()


def detector(neck_name="nas_fpn", anytime=False, backbone="resnet10", in_channels=CHANNELS, **options):
    neck = build_neck(neck_name, in_channels=in_channels, out_channels=8, **options)
    spec = DetectorSpec(
        backbone=BackboneConfig(name=backbone),
        neck=neck_to_dict(neck),
        head=HeadConfig(convs=1, octaves=2),
        image_size=256,
        classes=("cat", "dog"),
        category_ids=(1, 2),
        anytime=anytime,
    )
    torch.manual_seed(0)
    return build_from_spec(spec).eval(), spec


def test_a_detector_graph_gives_what_torchvision_detects():
    model, _ = detector()
    model.score_thresh = 0.0
    image = torch.rand(3, 256, 256)
    captured = OrderedDict()
    model.head.register_forward_hook(lambda _, __, outputs: captured.update(outputs))
    anchors = []
    model.anchor_generator.register_forward_hook(lambda _, __, outputs: anchors.extend(outputs))
    with torch.no_grad():
        model([image])
        expected = {name: value.clone() for name, value in captured.items()}
        found = detector_graph(model).module(image[None])
    boxes = model.box_coder.decode_single(expected["bbox_regression"][0], anchors[0])
    torch.testing.assert_close(found["logits"], expected["cls_logits"], rtol=0, atol=1e-5)
    torch.testing.assert_close(found["offsets"], expected["bbox_regression"], rtol=0, atol=1e-5)
    torch.testing.assert_close(found["boxes"][0], boxes, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("anytime", "repeats"), [(False, 1), pytest.param(True, 2, marks=pytest.mark.slow)], ids=["plain", "anytime"]
)
def test_a_folded_detector_as_pt2_and_onnx_equals_the_trained_one(tmp_path, anytime, repeats):
    pytest.importorskip("onnxruntime")
    model, _ = detector(anytime=anytime, repeats=repeats)
    graph, folded = detector_graph(model), detector_graph(fold_batch_norms(model))
    files = [read_pt2(write_pt2(folded, tmp_path / "d.pt2")), read_onnx(write_onnx(folded, tmp_path / "d.onnx"))]
    onnx_inputs = pytest.importorskip("onnx").load(tmp_path / "d.onnx").graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_param for dim in onnx_inputs] == ["batch", "", "height", "width"]
    for size in (*graph.sizes, (128, 128), (32, 32)):
        inputs = graph.inputs(size)
        with torch.no_grad():
            expected = list(graph.module(*inputs).values())
        for compute in files:
            assert largest_difference(compute(inputs), expected) <= TOLERANCE


@pytest.mark.parametrize(
    ("backbone", "in_channels"),
    [
        ("efficientnet_lite0", (40, 112, 320)),
        pytest.param("timm/dm_nfnet_f0", (512, 1536, 3072), marks=pytest.mark.slow),
    ],
)
def test_a_backbone_that_pads_by_the_size_is_traced_for_all_sizes(tmp_path, backbone, in_channels):
    pytest.importorskip("timm")
    model, _ = detector("fpn", backbone=backbone, in_channels=in_channels)
    compute = read_pt2(write_pt2(detector_graph(fold_batch_norms(model)), tmp_path / "detector.pt2"))
    graph = detector_graph(model)
    for size in graph.sizes:
        inputs = graph.inputs(size)
        with torch.no_grad():
            expected = list(graph.module(*inputs).values())
        assert largest_difference(compute(inputs), expected) <= TOLERANCE


@pytest.mark.parametrize("kernel", [1, 2, 3, 5, (3, 4)])
@pytest.mark.parametrize(("stride", "dilation"), [(2, 1), (2, 2), (3, 1), (4, (1, 2))])
@pytest.mark.parametrize("name", ["Conv2dSame", "ScaledStdConv2dSame"])
def test_fixed_padding_is_that_of_sides_in_whole_strides(name, kernel, stride, dilation):
    layer = getattr(pytest.importorskip("timm.layers"), name)
    torch.manual_seed(0)
    module = torch.nn.Sequential(layer(4, 6, kernel, stride=stride, dilation=dilation))
    fixed = with_fixed_padding(module)
    assert any(isinstance(child, torch.nn.ZeroPad2d) for child in fixed.modules())
    assert not any(isinstance(child, torch.nn.ZeroPad2d) for child in module.modules())
    x = torch.rand(2, 4, 12 * stride, 8 * stride)
    torch.testing.assert_close(fixed(x), module(x), rtol=0, atol=0)


def test_a_missing_package_is_named_with_the_extra(monkeypatch, tmp_path):
    monkeypatch.setattr(errors.importlib.util, "find_spec", lambda name: None if name == "onnxscript" else name)
    graph = neck_graph(PassThrough((4,), (3,)))
    with pytest.raises(ExportError, match=r"needs onnxscript: pip install 'nas-fpn\[export\]'"):
        write_onnx(graph, tmp_path / "neck.onnx")


def test_a_module_that_depends_on_one_size_is_refused(tmp_path):
    class OneSize(PassThrough):
        def forward(self, features):
            maps = super().forward(features)
            return OrderedDict((name, x.view(x.shape[0], 4, 123, 247)) for name, x in maps.items())

    with pytest.raises(ExportError, match=r"fits one size only|cannot trace"):
        traced(neck_graph(OneSize((4,), (3,))))
