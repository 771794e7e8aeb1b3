"""Exports and run directories whose files are not what they should be: each command uses them or says so in a line."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from nas.detection.config import BackboneConfig, HeadConfig
from nas.detection.saved import DetectorSpec, build_from_spec, load_detector, save_detector
from nas.errors import UserError
from nas.results.report import _final
from nas.runs.run_directory import RunDirectory
from nas.training.config import TrainNeckConfig
from nas.training.model import _build
from necks import build_neck, load_exported, save_exported
from necks.exported import neck_to_dict
from tests.support.damage import PRIVATE, TENSORS, copied, damages_of
from tests.support.made_up_run import made_up_run

NECK_FILES = ("genotype.json", "neck.json", "neck.safetensors")
DETECTOR_FILES = ("detector.json", "detector.safetensors")
MAY_BE_USED = {"values", "torn", "link outside"}
"""Kinds of damage that may leave a file as good as before."""
OPTIONAL = ("genotype.json",)
LONGEST_SECONDS = 10


@pytest.fixture(scope="module")
def neck_dir(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("whole") / "neck"
    save_exported(build_neck("nas_fpn", in_channels=(8, 16, 32), out_channels=8), path)
    return path


@pytest.fixture(scope="module")
def detector_dir(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("whole") / "detector"
    spec = DetectorSpec(
        backbone=BackboneConfig(name="resnet10"),
        neck=neck_to_dict(build_neck("fpn", in_channels=(128, 256, 512), out_channels=8)),
        head=HeadConfig(convs=0, octaves=1, ratios=(1.0,)),
        image_size=64,
        classes=("cat", "dog"),
        category_ids=(5, 9),
    )
    save_detector(build_from_spec(spec).state_dict(), spec, path)
    return path


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run"
    made_up_run(path)
    record = {"steps": 3, "standings": [
        {"neck": "fpn", "AP": [1.0], "mean": 1.0, "margin": None, "channels": 8, "macs": 1, "params": 1}
    ]}  # fmt: skip
    (path / "final").mkdir()
    (path / "final" / "final.json").write_text(json.dumps(record))
    return path


@pytest.fixture
def ends_well(in_process):
    """Whether a command was done; fails unless it says in one line, and within seconds of work, why it was not."""

    def run(*arguments: object, most_lines: int = 1) -> bool:
        start = time.process_time()
        status, _, complained = in_process(*arguments)
        assert time.process_time() - start < LONGEST_SECONDS
        assert status in (0, 2), complained
        if status == 0:
            return True
        assert complained.startswith("error: "), complained
        assert len(complained.strip().splitlines()) <= most_lines, complained
        return False

    return run


def assert_same_tensors(one: torch.nn.Module, other: torch.nn.Module) -> None:
    first, second = one.state_dict(), other.state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def assert_nothing_private(output: Path) -> None:
    for path in output.rglob("*"):
        assert not path.is_symlink()
        assert path.is_dir() or PRIVATE not in path.read_bytes()


def use_neck(directory: Path, whole: Path, output: Path, ends_well) -> bool:
    """Describe and export a damaged neck; what is written is what the files say, with the weights of the whole one."""
    described, exported = ends_well("describe", directory), ends_well("export", directory, "--output", output)
    assert described == exported
    if exported:
        loaded = load_exported(output)
        assert neck_to_dict(loaded) == neck_to_dict(load_exported(directory))
        assert_same_tensors(loaded, load_exported(whole))
        assert_nothing_private(output)
    return exported


def use_detector(directory: Path, whole: Path, output: Path, ends_well) -> bool:
    exported = ends_well("export", directory, "--output", output)
    if exported:
        (detector, spec), (read, said) = load_detector(output), load_detector(directory)
        assert spec == said
        assert_same_tensors(detector, read)
        assert_same_tensors(detector, load_detector(whole)[0])
        assert_nothing_private(output)
    return exported


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name in NECK_FILES for kind in damages_of(name)])
def test_a_damaged_neck_is_refused_in_a_line(neck_dir, tmp_path, ends_well, name, kind):
    directory = copied(neck_dir, tmp_path / "neck")
    damages_of(name)[kind](directory / name, random.Random(0))
    done = use_neck(directory, neck_dir, tmp_path / "out", ends_well)
    lost = {"gone", "link to nothing", "link to itself"}
    assert done == (name in OPTIONAL and kind in lost) or kind == "values"


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name in DETECTOR_FILES for kind in damages_of(name)])
def test_a_damaged_detector_is_refused_in_a_line(detector_dir, tmp_path, ends_well, name, kind):
    directory = copied(detector_dir, tmp_path / "detector")
    damages_of(name)[kind](directory / name, random.Random(0))
    assert not use_detector(directory, detector_dir, tmp_path / "out", ends_well) or kind == "values"


def test_a_link_to_a_private_file_is_not_followed_into_an_export(neck_dir, tmp_path, in_process):
    directory = copied(neck_dir, tmp_path / "neck")
    damages_of("genotype.json")["link outside"](directory / "genotype.json", random.Random(0))
    status, _, complained = in_process("export", directory, "--output", tmp_path / "out")
    assert status == 2
    assert "genotype.json is not valid JSON" in complained
    assert not (tmp_path / "out").exists()


def test_links_as_in_the_cache_of_a_model_hub_are_read_and_written_as_files(neck_dir, tmp_path, ends_well):
    blobs, snapshot = copied(neck_dir, tmp_path / "blobs"), tmp_path / "snapshot"
    snapshot.mkdir()
    for path in blobs.iterdir():
        (snapshot / path.name).symlink_to(path)
    assert use_neck(snapshot, neck_dir, tmp_path / "out", ends_well)


@pytest.mark.parametrize("kind", ["fpn", "gone"])
def test_training_refuses_a_directory_whose_descriptions_differ(neck_dir, tmp_path, kind):
    directory = copied(neck_dir, tmp_path / "neck")
    other = build_neck(kind if kind != "gone" else "pafpn", in_channels=(8, 16, 32), out_channels=8)
    (directory / "genotype.json").write_text(other.genotype.to_json())
    with pytest.raises(ValueError, match=r"genotype\.json and neck\.json beside it describe two necks"):
        _build(TrainNeckConfig(name=str(directory)), (8, 16, 32), (3, 4, 5))


def test_a_description_that_asks_for_other_files_is_refused(detector_dir, tmp_path, in_process):
    directory = copied(detector_dir, tmp_path / "detector")
    data = json.loads((directory / "detector.json").read_text())
    data["backbone"]["weights"] = str(tmp_path / "private.pth")
    (directory / "detector.json").write_text(json.dumps(data))
    status, _, complained = in_process("export", directory, "--output", tmp_path / "out")
    assert status == 2
    assert "backbone.weights must be 'none'" in complained


@pytest.mark.parametrize("where", ["a file", "read only", "a directory in the way"])
def test_an_export_that_cannot_be_written_says_so(neck_dir, tmp_path, ends_well, where):
    output = tmp_path / "out"
    if where == "a file":
        output.write_text("mine")
    elif where == "read only":
        (tmp_path / "closed").touch()
        output = tmp_path / "closed" / "out"
    else:
        (output / "neck.json").mkdir(parents=True)
    assert not ends_well("export", neck_dir, "--output", output)


CONFIG_COMMANDS = (["status"], ["describe"], ["export", "--output", "out"], ["retrain"])


@pytest.mark.parametrize("kind", damages_of("config.json"))
def test_a_run_with_a_damaged_configuration(run_dir, tmp_path, monkeypatch, ends_well, kind):
    monkeypatch.chdir(tmp_path)
    directory = copied(run_dir, tmp_path / "run")
    damages_of("config.json")[kind](directory / "config.json", random.Random(0))
    for command, *options in CONFIG_COMMANDS:
        if command != "retrain" or kind not in MAY_BE_USED:
            assert not ends_well(command, directory, *options) or kind in MAY_BE_USED


RECORDS = ({"config": "abc"}, {"config": None}, {"command": 5}, {"command": [1]}, {"environment": []}, {"study": {}})


@pytest.mark.parametrize("change", RECORDS, ids=str)
def test_a_run_with_odd_entries_in_its_configuration(run_dir, tmp_path, ends_well, change):
    directory = copied(run_dir, tmp_path / "run")
    record = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**record, **change}))
    assert not ends_well("status", directory)
    assert not ends_well("export", directory, "--output", tmp_path / "out")


@pytest.mark.parametrize("kind", [*damages_of("x.json")])
def test_a_run_with_a_damaged_final_record(run_dir, tmp_path, ends_well, kind):
    directory = copied(run_dir, tmp_path / "run")
    damages_of("x.json")[kind](directory / "final" / "final.json", random.Random(0))
    if kind in {"gone", "link to nothing", "link to itself"}:
        assert _final(RunDirectory(directory)) == {}
    elif kind != "values":
        with pytest.raises(UserError, match=r"final\.json"):
            _final(RunDirectory(directory))


def test_the_report_of_a_run_with_a_damaged_final_record_says_so(run_dir, tmp_path, ends_well):
    directory = copied(run_dir, tmp_path / "run")
    assert ends_well("report", directory)
    (directory / "final" / "final.json").write_text('{"steps": 3, "standings": [{"neck": 1}]}')
    assert not ends_well("report", directory)


@pytest.mark.parametrize(("name", "kind"), [("neck.json", "torn"), *(("neck.safetensors", kind) for kind in TENSORS)])
def test_a_trial_with_damaged_files_is_not_exported(run_dir, tmp_path, ends_well, name, kind):
    directory = copied(run_dir, tmp_path / "run")
    damages_of(name)[kind](directory / "trials" / "0001" / name, random.Random(0))
    assert not ends_well("export", directory, "--trial", 1, "--output", tmp_path / "out")
    assert ends_well("describe", f"{directory}:1")


def test_a_trial_with_the_files_of_another_is_not_exported(run_dir, tmp_path, in_process):
    directory = copied(run_dir, tmp_path / "run")
    copied(directory / "trials" / "0000", directory / "trials" / "0001")
    status, _, complained = in_process("export", directory, "--trial", 1, "--output", tmp_path / "out")
    assert status == 2
    assert "another neck than trial 1 of the journal" in complained


def one_image(root: Path) -> tuple[object, ...]:
    """Options of `nasfpn evaluate` for a picture with the categories of `detector_dir`; others take several lines."""
    Image.new("RGB", (64, 64), "red").save(root / "a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 64, "height": 64}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 5, "bbox": [1, 1, 9, 9], "area": 81, "iscrowd": 0}],
        "categories": [{"id": 5, "name": "cat"}, {"id": 9, "name": "dog"}],
    }
    (root / "a.json").write_text(json.dumps(content))
    return "--annotations", root / "a.json", "--images", root, "--device", "cpu"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_hundred_damaged_exports(neck_dir, detector_dir, tmp_path, ends_well):
    """Two files of each are damaged, one after the other, by kinds drawn from the seed; some are used all the same."""
    data, used = one_image(tmp_path), 0
    for seed in range(120):
        rng = random.Random(seed)
        is_neck = seed % 2 == 0
        whole, files, use = (
            (neck_dir, NECK_FILES, use_neck) if is_neck else (detector_dir, DETECTOR_FILES, use_detector)
        )
        directory = copied(whole, tmp_path / "damaged")
        for name in rng.sample(files, rng.randint(1, 2)):
            kinds = damages_of(name)
            kinds[rng.choice([*kinds, *["values"] * 8] if name.endswith(".json") else [*kinds])](directory / name, rng)
        exported = use(directory, whole, tmp_path / f"out{seed}", ends_well)
        used += exported
        if not is_neck:
            scored = ends_well("evaluate", directory, *data, "--size", 64, "--pictures", 0, most_lines=5)
            assert exported or not scored
    assert 0 < used < 60
