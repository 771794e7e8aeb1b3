"""The detector that a training configuration asks for."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import drop_block2d

from nas.configuration import ConfigError
from nas.credentials import without_credentials
from nas.data.coco import CocoSplit
from nas.detection.backbone import build_backbone
from nas.detection.saved import DetectorSpec
from nas.detection.two_stage import Detector
from nas.runs.journal import open_journal
from nas.runs.own_code import trusts_code
from nas.runs.places import fetched
from nas.runs.remote.exports import TOPOLOGY_FILES, local_export
from nas.runs.trial_names import chosen_trial, split_name
from nas.training.config import TrainConfig, TrainNeckConfig
from necks import NECKS, MergeNeck, Neck, Recipe, build_neck
from necks.exported import GENOTYPE_FILE, neck_to_dict, read_genotype
from necks.pyramid import Cell
from search_space import Genotype
from search_space.files import is_there
from search_space.references import is_reference


def detector_spec(config: TrainConfig, train: CocoSplit) -> DetectorSpec:
    """Specification of the detector to train, for the classes of a split.

    Raises:
        ConfigError: if there is no such neck, or it does not fit.
        BackboneError: if there is no such backbone.
    """
    bare = build_backbone(replace(config.backbone, weights="none"))
    try:
        neck = _build(config.neck, bare.channels, bare.levels)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"neck: {error}") from error
    if config.deep_supervision and not isinstance(neck, MergeNeck):
        raise ConfigError(f"deep_supervision needs a neck of stacked repeats; {config.neck.name} has none")
    return DetectorSpec(
        backbone=config.backbone,
        neck=neck_to_dict(neck),
        head=config.head,
        image_size=config.image_size,
        classes=train.classes,
        category_ids=train.category_ids,
        anytime=config.deep_supervision,
        two_stage=config.two_stage if config.detector == "faster_rcnn" else None,
    )


def add_drop_block(neck: nn.Module, share: float, size: int) -> None:
    """Zero squares of each cell's normalised map in training, as `torchvision.ops.drop_block2d`; the module's weights
    keep their names.

    Raises:
        ConfigError: if the neck is no merge graph.
    """
    if not isinstance(neck, MergeNeck):
        raise ConfigError(f"drop_block is for merge graphs, not for a {type(neck).__name__}; set neck.drop_block=0")
    hook = partial(_dropped, share=share, size=size)
    for cell in neck.modules():
        if isinstance(cell, Cell) and isinstance(cell.transform, nn.Sequential):
            norm, conv = (cell.transform.get_submodule(name) for name in ("norm", "conv"))
            last = list(conv.modules())[-1] if isinstance(norm, nn.Identity) else norm
            last.register_forward_hook(hook)


def add_checkpointing(neck: nn.Module) -> None:
    """
    Raises:
        ConfigError: if the neck is no merge graph.
    """
    if not isinstance(neck, MergeNeck):
        raise ConfigError(
            f"checkpointing is for merge graphs, not for a {type(neck).__name__}; set neck.checkpointing=false"
        )
    neck.checkpointing = True


def _dropped(module: nn.Module, _: Any, output: Tensor, *, share: float, size: int) -> Tensor:
    if not module.training:
        return output
    fitting = min(size, *output.shape[-2:])
    return drop_block2d(output, share, fitting - 1 + fitting % 2)  # it takes odd sizes only, small maps or not


def _build(config: TrainNeckConfig, in_channels: tuple[int, ...], in_levels: tuple[int, ...]) -> Neck:
    shape: dict[str, Any] = {"in_channels": in_channels, "in_levels": in_levels, "out_channels": config.channels}
    is_named = config.name in NECKS or is_reference(config.name)
    what: str | Genotype = config.name if is_named else _genotype(config.name)
    recipe = Recipe(**config.recipe) if config.recipe else None
    return build_neck(what, repeats=config.repeats, recipe=recipe, **shape, **config.options)


def _genotype(name: str) -> Genotype:
    run_dir, number = split_name(name)
    if number is not None:
        with fetched(run_dir) as run:
            trusts_code(run, run.read_config())
            return chosen_trial(open_journal(run).trials(), number, run_dir).candidate.genotype
    path = local_export(name, TOPOLOGY_FILES)
    if not is_there(path / GENOTYPE_FILE if path.is_dir() else path):
        raise ConfigError(
            f"{without_credentials(name)!r} is neither a known neck ({', '.join(NECKS)}) nor a trial (RUN_DIR:NUMBER) "
            f"nor a genotype's JSON file nor a directory with {GENOTYPE_FILE}"
        )
    return read_genotype(path)


def sync_norms(detector: Detector, config: TrainConfig, device: torch.device, processes: int) -> Detector:
    """Batch norms over all processes where that is wanted.

    Raises:
        ConfigError: if it is wanted without GPUs.
    """
    wanted = config.sync_norm
    if wanted is None:
        wanted = device.type == "cuda" and processes > 1
    if wanted and device.type != "cuda":
        raise ConfigError("sync_norm needs GPUs: PyTorch's SyncBatchNorm has no CPU version; leave it null")
    return nn.SyncBatchNorm.convert_sync_batchnorm(detector) if wanted else detector
