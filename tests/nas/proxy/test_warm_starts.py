"""Warm starts: stem and head trained once, kept in a file, the same in every process."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import safetensors.torch
import torch
from pydantic import ValidationError
from torch import Tensor

from nas.data.config import DataConfig
from nas.detection.config import BackboneConfig
from nas.proxy import warm
from nas.proxy.candidate import candidate_neck
from nas.proxy.config import OptimizerConfig, ProxyConfig
from nas.proxy.task import ProxyTask
from nas.proxy.training import Training
from nas.proxy.warm import WarmError
from search_space import known
from tests.support.recorded import STEPS, TINY, Recorded, assert_same, dropout_neck

WARM = replace(TINY, warm_steps=6)


@pytest.fixture
def own_data(data: DataConfig, task: ProxyTask, tmp_path: Path) -> DataConfig:
    """The same data with the features of `TINY` and no other shared results, to be written to."""
    copied = Path(shutil.copytree(data.root, tmp_path / "signs"))
    for path in (copied / ".cache").glob("warm-*"):
        path.unlink()
    return replace(data, root=str(copied))


def warm_files(data: DataConfig) -> list[Path]:
    return sorted((Path(data.root) / ".cache").glob("warm-*.safetensors"))


@pytest.fixture
def trained_widths(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Channels of each training of stem and head from now on."""
    begun = []

    class Counted(Training):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            if self.config.steps == WARM.warm_steps:
                begun.append(self.config.neck.channels)

    monkeypatch.setattr("nas.proxy.task.Training", Counted)
    return begun


def test_stem_and_head_are_trained_once_for_all_tasks(own_data, trained_widths):
    first = ProxyTask(WARM, own_data)
    (path,) = warm_files(own_data)
    written = path.stat().st_mtime_ns, path.read_bytes()
    second = ProxyTask(WARM, own_data)
    assert trained_widths == [32]
    assert warm_files(own_data) == [path]
    assert (path.stat().st_mtime_ns, path.read_bytes()) == written
    assert_same(first.run(known.nas_fpn(), 0), second.run(known.nas_fpn(), 0))
    assert (path.stat().st_mtime_ns, path.read_bytes()) == written


def test_candidates_start_with_the_warm_stem_and_head_and_cells_of_their_own(own_data):
    warm_task = ProxyTask(WARM, own_data)
    weights = safetensors.torch.load_file(warm_files(own_data)[0])
    assert {name.split(".")[0] for name in weights} == {"stem", "head"}
    for genotype in (known.fpn(), known.nas_fpn(), known.none()):
        for seed in (0, 1):
            torch.manual_seed(seed)
            detector = warm_task.detector(
                lambda channels, levels, genotype=genotype: candidate_neck(genotype, channels, levels, TINY.neck)
            )
            begun = {f"head.{key}": value for key, value in detector.head.state_dict().items()}
            begun |= {f"stem.{key}": value for key, value in detector.backbone.neck.stem.state_dict().items()}
            assert begun.keys() == weights.keys()
            assert all(torch.equal(value, weights[name]) for name, value in begun.items())
            torch.manual_seed(seed)
            own = candidate_neck(genotype, warm_task.backbone.channels, warm_task.backbone.levels, TINY.neck)
            cells = {name: value for name, value in own.state_dict().items() if not name.startswith("stem.")}
            neck = detector.backbone.neck.state_dict()
            assert all(torch.equal(value, neck[name]) for name, value in cells.items())


def test_a_candidate_without_cells_goes_on_where_the_warm_training_ended(own_data):
    cold = ProxyTask(replace(TINY, steps=1), own_data).run(known.none(), 0).metrics["loss"]
    begun = ProxyTask(replace(WARM, warm_steps=40, steps=1), own_data).run(known.none(), 0).metrics["loss"]
    assert begun < 0.6 * cold


def test_candidates_leave_the_warm_weights_as_they_were(own_data):
    warm_task = ProxyTask(WARM, own_data)
    first = warm_task.run(known.fpn(), 0)
    warm_task.run(known.nas_fpn(), 1)
    assert_same(first, warm_task.run(known.fpn(), 0))


def test_a_warm_training_continues_from_its_checkpoint(own_data):
    warm_task = ProxyTask(WARM, own_data)
    callbacks = Recorded(every=0)
    unbroken = warm_task.run_neck(dropout_neck, 0, callbacks)
    continued = warm_task.run_neck(dropout_neck, 0, Recorded(stored=callbacks.saved[2]))
    assert continued.metrics["resumed_at"] == 3
    assert_same(unbroken, continued)


def test_a_checkpoint_of_a_cold_training_is_not_continued_by_a_warm_one(own_data):
    callbacks = Recorded(every=0)
    ProxyTask(TINY, own_data).run(known.fpn(), 0, callbacks)
    warm_trained = ProxyTask(WARM, own_data).run(known.fpn(), 0, Recorded(stored=callbacks.saved[3]))
    assert "resumed_at" not in warm_trained.metrics


def of_width(channels: int) -> Recorded:
    callbacks = Recorded()
    callbacks.channels = channels
    return callbacks


def test_necks_of_another_width_start_with_stem_and_head_of_that_width_trained_once(own_data, trained_widths):
    untrained = ProxyTask(replace(WARM, steps=0), own_data)
    assert len(warm_files(own_data)) == 1
    begun = untrained.run(known.fpn(), 0, of_width(64)).neck
    assert begun.out_channels == 64
    stem = {f"stem.{key}": value for key, value in begun.stem.state_dict().items()}
    files = [safetensors.torch.load_file(path) for path in warm_files(own_data)]
    (warmed,) = [file for file in files if all(file[name].shape == value.shape for name, value in stem.items())]
    assert all(torch.equal(value, warmed[name]) for name, value in stem.items())
    untrained.run(known.nas_fpn(), 1, of_width(64))
    ProxyTask(WARM, own_data).run(known.nas_fpn(), 1, of_width(64))
    assert trained_widths == [32, 64]


def test_a_trial_that_trains_the_warm_weights_is_the_same_as_one_that_reads_them(own_data):
    build = partial(dropout_neck, width=64)
    trains = ProxyTask(WARM, own_data).run_neck(build, 3)
    assert_same(trains, ProxyTask(WARM, own_data).run_neck(build, 3))


def test_necks_without_a_stem_start_with_the_warm_head():
    head = torch.nn.Linear(2, 3)
    bare = SimpleNamespace(head=head, backbone=SimpleNamespace(neck=torch.nn.Identity()))
    ones = {"head.weight": torch.ones(3, 2), "head.bias": torch.ones(3), "stem.x": torch.ones(1)}
    before = head.weight.clone()
    warm.start_from(bare, {**ones, "head.bias": torch.ones(4)})
    assert torch.equal(head.weight, before), "a head that fits in part is left alone"
    warm.start_from(bare, ones)
    assert (head.weight == 1).all()
    assert (head.bias == 1).all()


def test_a_torn_file_of_warm_weights_is_never_read(own_data, monkeypatch):
    expected = ProxyTask(WARM, own_data).run(known.fpn(), 0)
    (path,) = warm_files(own_data)
    whole = path.read_bytes()
    path.unlink()

    def tear(target: Path, weights: dict[str, Tensor]) -> None:
        target.write_bytes(whole[: len(whole) // 2])
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(warm, "write_tensors", tear)
        with pytest.raises(OSError, match="no space left"):
            ProxyTask(WARM, own_data)
    assert warm_files(own_data) == []
    (partial,) = (Path(own_data.root) / ".cache").glob("warm-*.partial")
    assert partial.read_bytes() == whole[: len(whole) // 2]
    assert_same(expected, ProxyTask(WARM, own_data).run(known.fpn(), 0))
    assert warm_files(own_data) == [path]
    assert path.read_bytes() == whole
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WarmError, match=r"warm-\w+\.safetensors cannot be read as weights .* or delete it"):
        ProxyTask(WARM, own_data)


def test_a_warm_training_that_diverges_says_so_and_keeps_nothing(own_data):
    wild = replace(WARM, warm_steps=20, optimizer=OptimizerConfig(name="sgd", lr=1e8, warmup_steps=0))
    for _ in range(2):
        with pytest.raises(WarmError, match=r"shared training .* loss is (nan|inf) at step \d+; lower proxy"):
            ProxyTask(wild, own_data)
    assert warm_files(own_data) == []


@pytest.mark.parametrize(
    ("change", "another"),
    [
        ({"warm_steps": 7}, True),
        ({"batch_size": 4}, True),
        ({"augment": "none"}, True),
        ({"precision": "bf16"}, True),
        ({"optimizer": replace(TINY.optimizer, lr=1e-3)}, True),
        ({"neck": replace(TINY.neck, channels=16)}, True),
        ({"head": replace(TINY.head, convs=1)}, True),
        ({"focal_alpha": 0.5}, True),
        ({"steps": STEPS + 1}, False),
        ({"threads": 2, "device": "cpu"}, True),
        ({"compile": "default"}, False),
    ],
    ids=str,
)
def test_another_training_of_stem_and_head_has_another_file(own_data, monkeypatch, change, another):
    ProxyTask(WARM, own_data)
    (path,) = warm_files(own_data)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    ProxyTask(replace(WARM, **change), own_data)
    assert (len(warm_files(own_data)) == 2) == another
    assert path in warm_files(own_data)


def test_other_training_images_or_another_backbone_have_another_file(own_data, monkeypatch):
    ProxyTask(WARM, own_data)
    monkeypatch.setattr(warm, "weights_digest", lambda _: "another")
    ProxyTask(WARM, own_data)
    assert len(warm_files(own_data)) == 2
    os.utime(next((Path(own_data.root) / "train").iterdir()), (1, 1))
    ProxyTask(WARM, own_data)
    assert len(warm_files(own_data)) == 3


def test_without_warm_steps_nothing_is_trained_ahead(own_data, trained_widths):
    ProxyTask(TINY, own_data)
    assert trained_widths == []
    assert warm_files(own_data) == []


def test_a_warm_start_of_a_backbone_that_learns_is_refused():
    with pytest.raises(ValidationError, match=r"warm_steps needs a frozen backbone.*set backbone.frozen"):
        ProxyConfig(warm_steps=1)
    with pytest.raises(ValidationError, match="warm_steps needs a frozen backbone"):
        replace(WARM, backbone=BackboneConfig(name="resnet10"))
    assert ProxyConfig(warm_steps=0).warm_steps == 0


TRIAL = """
import hashlib, json, sys
from dataclasses import replace
from functools import partial
from tests.support.recorded import TINY
from nas.data.config import DataConfig
from nas.proxy.task import ProxyTask
from nas.proxy.training import Training
from search_space import known

config = replace(TINY, steps=30, warm_steps=10)
assert config.augment == "flip"
trained = ProxyTask(config, DataConfig(root=sys.argv[1])).run(known.nas_fpn(), 3)
weights = b"".join(value.numpy().tobytes() for value in trained.neck.state_dict().values())
kept = {name: value.hex() for name, value in trained.metrics.items() if name == "loss" or name.startswith("AP")}
print(json.dumps(kept | {"weights": hashlib.sha256(weights).hexdigest()}))
"""


def trial_of_a_process(root: str, **environment: str) -> dict[str, str]:
    result = subprocess.run(
        [sys.executable, "-c", TRIAL, root],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(result.stdout)


def test_a_trial_repeats_itself_to_the_last_bit_in_another_process(own_data):
    """With features and warm weights of its own, and its own order of hashes."""
    first = trial_of_a_process(own_data.root, PYTHONHASHSEED="1")
    (path,) = warm_files(own_data)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    shutil.rmtree(Path(own_data.root) / ".cache")
    assert trial_of_a_process(own_data.root, PYTHONHASHSEED="2") == first
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    assert {"AP", "AP50", "loss", "weights"} <= first.keys()
