"""`nasfpn export` of exported necks, saved detectors and runs: what it writes, says and refuses."""

from __future__ import annotations

import re
import shutil

import pytest
import torch

from nas.conversion.convert import convert
from nas.conversion.parts import Categories
from nas.detection.config import BackboneConfig, HeadConfig
from nas.detection.saved import DetectorSpec, build_from_spec, load_detector, save_detector
from nas.export.formats import TOLERANCE
from nas.export.pt2_file import read_pt2
from necks import build_neck, load_exported, save_exported
from necks.exported import neck_to_dict
from tests.support.export_tools import CHANNELS, OURS, run_alone, trained_nas_fpn
from tests.support.made_up_run import made_up_run

PLAIN = {"README.md", "architecture.svg", "genotype.json", "neck.json", "neck.safetensors"}
GENERATED = {"neck.py", "weights.pt", "neck.onnx", "neck.pt2", "mmdet_neck.py", "torchvision_example.py"}


@pytest.fixture(scope="module")
def neck_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("sources") / "neck"
    save_exported(trained_nas_fpn(), directory)
    return directory


@pytest.fixture(scope="module")
def detector_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("sources") / "detector"
    spec = DetectorSpec(
        backbone=BackboneConfig(name="resnet10"),
        neck=neck_to_dict(build_neck("balanced_fpn", in_channels=CHANNELS, out_channels=16)),
        head=HeadConfig(convs=1, octaves=1),
        image_size=256,
        classes=("cat", "dog"),
        category_ids=(1, 2),
    )
    save_detector(build_from_spec(spec).state_dict(), spec, directory)
    return directory


def names(directory):
    return {entry.name for entry in directory.iterdir()}


def test_a_neck_in_every_format(neck_dir, tmp_path, in_process):
    output = tmp_path / "out"
    status, said, complained = in_process("export", neck_dir, "--output", output, "--format", "all", "--fold")
    assert (status, complained) == (0, "")
    assert names(output) == PLAIN | GENERATED
    assert len(re.findall(r"(neck\.py|neck\.onnx|neck\.pt2): equal to the trained module within", said)) == 3
    card = (output / "README.md").read_text()
    assert all(f"| `{name}` |" in card for name in GENERATED)
    differences = [float(number) for number in re.findall(r"\| (\de-\d\d) \|", card)]
    assert len(differences) == 3
    assert max(differences) <= TOLERANCE
    assert load_exported(output).genotype == load_exported(neck_dir).genotype


def test_the_torchvision_example_trains_and_detects_without_this_project(neck_dir, tmp_path, in_process):
    status, _, complained = in_process("export", neck_dir, "--output", tmp_path / "out", "--format", "torchvision")
    assert (status, complained) == (0, "")
    program = "import runpy, sys; sys.path[:0] = ['.']; runpy.run_path('torchvision_example.py', run_name='__main__')"
    losses, boxes = run_alone(program, OURS, tmp_path / "out").splitlines()
    assert set(re.findall(r"'(\w+)': \d", losses)) == {"classification", "bbox_regression"}
    assert boxes.endswith(" boxes")


def test_a_detector_is_copied_and_traced_whole(detector_dir, tmp_path, in_process):
    output = tmp_path / "out"
    status, said, complained = in_process("export", detector_dir, "--output", output, "--format", "pt2")
    assert (status, complained) == (0, "")
    assert names(output) == {"README.md", "detector.json", "detector.safetensors", "detector.pt2"}
    assert "detector.pt2: equal to the trained module within" in said
    card = (output / "README.md").read_text()
    assert "2: cat, dog" in card
    assert "batched_nms" in card
    assert load_detector(output)[1].classes == ("cat", "dog")


def test_a_format_that_a_neck_does_not_allow_is_refused(detector_dir, tmp_path, in_process):
    status, _, complained = in_process("export", detector_dir, "--output", tmp_path / "out", "--format", "python")
    assert status == 2
    assert "take another format: onnx or pt2" in complained


@pytest.mark.slow
def test_a_converted_detector_keeps_the_anchors_of_its_kind(tmp_path, in_process):
    from torchvision.models import resnet18
    from torchvision.models.detection import RetinaNet
    from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
    from torchvision.ops.feature_pyramid_network import LastLevelP6P7

    torch.manual_seed(0)
    body = _resnet_fpn_extractor(resnet18(), 5, returned_layers=[2, 3, 4], extra_blocks=LastLevelP6P7(256, 256))
    public = RetinaNet(body, 2, min_size=256, max_size=256).eval()
    ours, spec = convert(public.state_dict(), "torchvision", Categories((0, 1), ("cat", "dog")), 256)
    save_detector(ours.state_dict(), spec, tmp_path / "converted")
    output = tmp_path / "out"
    status, _, complained = in_process("export", tmp_path / "converted", "--output", output, "--format", "pt2")
    assert (status, complained) == (0, "")
    images = torch.rand(1, 3, 256, 320)
    _, _, boxes = read_pt2(output / "detector.pt2")((images,))
    with torch.no_grad():
        batch, _ = public.transform([images[0]])
        normalised = (images - torch.tensor(public.transform.image_mean).view(-1, 1, 1)) / torch.tensor(
            public.transform.image_std
        ).view(-1, 1, 1)
        maps = list(public.backbone(normalised).values())
        offsets = public.head(maps)["bbox_regression"][0]
        batch.tensors, batch.image_sizes = normalised, [(256, 320)]
        expected = public.box_coder.decode_single(offsets, public.anchor_generator(batch, maps)[0])
    torch.testing.assert_close(boxes[0], expected, rtol=0, atol=1e-2)


def test_a_trial_of_a_run_with_a_generated_file(tmp_path, in_process):
    run, _, trials = made_up_run(tmp_path / "run")
    options = ("--trial", 2, "--format", "python", "--output", tmp_path / "out")
    status, said, complained = in_process("export", run.path, *options)
    assert (status, complained) == (0, "")
    assert said.startswith(f"trial 2 (AP {trials[2].reward:.1f}) exported to")
    assert names(tmp_path / "out") == PLAIN | {"neck.py", "weights.pt"}


def test_what_cannot_be_exported_is_refused_with_a_way_out(neck_dir, tmp_path, in_process):
    (tmp_path / "thesis.txt").write_text("years of work")
    other = tmp_path / "out"
    refusals = {
        ("--output", other, "--trial", 3): "is a single model, not a search; leave out --trial",
        ("--output", other, "--fold"): "name one with --format",
        (
            "--output",
            other,
            "--format",
            "tflite",
        ): "unknown format tflite; take python, onnx, onnx-nms, pt2, mmdet, torchvision",
        ("--output", neck_dir): "is the source of the export; give --output another directory",
        ("--output", tmp_path): "is not empty; give --output a new or empty directory",
    }
    for options, reason in refusals.items():
        status, _, complained = in_process("export", neck_dir, *options)
        assert status == 2
        assert reason in complained
    assert not other.exists()
    status, _, complained = in_process("export", tmp_path / "nowhere", "--output", other)
    assert status == 2
    assert "nowhere" in complained


def test_damaged_sources_are_refused(neck_dir, detector_dir, tmp_path, in_process):
    for source, weights in ((neck_dir, "neck.safetensors"), (detector_dir, "detector.safetensors")):
        torn = tmp_path / source.name
        shutil.copytree(source, torn)
        content = (torn / weights).read_bytes()
        (torn / weights).write_bytes(content[: len(content) // 2])
        status, _, complained = in_process("export", torn, "--output", tmp_path / "out")
        assert status == 2
        assert "cannot be read" in complained
        assert "Traceback" not in complained


@pytest.mark.parametrize("kind", ["neck", "detector"])
def test_the_card_begins_with_what_hubs_show(kind, neck_dir, detector_dir, tmp_path, in_process):
    yaml = pytest.importorskip("yaml")
    assert in_process("export", neck_dir if kind == "neck" else detector_dir, "--output", tmp_path / "out")[0] == 0
    empty, fields, text = (tmp_path / "out" / "README.md").read_text().split("---\n", 2)
    assert empty == ""
    assert text.startswith("\n# A ")
    found = yaml.safe_load(fields)
    assert found["library_name"] == "nas-fpn"
    assert "feature-pyramid" in found["tags"]
    assert found.get("pipeline_tag") == ("object-detection" if kind == "detector" else None)
    assert "license" not in found
