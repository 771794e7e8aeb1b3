"""The proxy task of one worker: data, features and targets once, then any number of candidates."""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torchvision.models.detection import RetinaNet

from nas.data.coco import CocoSplit, Splits, open_splits
from nas.data.config import DataConfig, DataError
from nas.data.evaluate import find_scorer
from nas.data.letterboxed import Letterboxed
from nas.detection.backbone import build_backbone
from nas.detection.conventions import build_anchors
from nas.detection.cost import feature_shapes, latency_ms, neck_cost, peak_memory_mb, reset_peak_memory
from nas.detection.detector import build_detector, grid_anchors
from nas.detection.device import forked_random_state, pick_device
from nas.detection.learning import trained_part
from nas.detection.two_stage import Detector, build_faster_rcnn
from nas.proxy.attempt import Attempt
from nas.proxy.candidate import candidate_neck
from nas.proxy.config import ProxyConfig
from nas.proxy.features import cached_features
from nas.proxy.graphed import check_graph_device
from nas.proxy.images import ImageInputs
from nas.proxy.inherit import packed_weights, short_config, start_from_weights
from nas.proxy.inputs import Inputs, TargetCache
from nas.proxy.phases import NO_PHASES, Phases
from nas.proxy.precision import decided
from nas.proxy.scoring import score
from nas.proxy.training import Training
from nas.proxy.trial import Start, Trained, TrialCallbacks, TrialError
from nas.proxy.two_stage import TwoStageTraining
from nas.proxy.warm import WARM_SEED, start_from, warm_config, warm_weights
from necks import MergeNeck, Neck
from search_space import Genotype, known

BuildNeck = Callable[[tuple[int, ...], tuple[int, ...]], Neck]

NO_CALLBACKS = TrialCallbacks()

ESTIMATE_STEPS = 8

BACKBONE_SEED = 0
"""A frozen backbone without weights is random, but the same in every worker."""


class ProxyTask:
    """Trains and scores candidates, keeping whatever they share.

    Args:
        score_on: the split that gives AP; candidates of a search are never scored on `test`.

    Raises:
        DataError, BackboneError: when data or weights cannot be had.
        UserError: when the scorer is not installed, or `cuda_graph=on` without a CUDA device.
        WarmError: when the shared training of stem and head fails.
    """

    def __init__(self, config: ProxyConfig, data: DataConfig, score_on: Literal["reward", "test"] = "reward") -> None:
        torch.set_num_threads(config.threads)
        config = decided(config)
        self.config = config
        self.device = pick_device(config.device)
        check_graph_device(config, self.device)
        find_scorer(config.scorer)
        splits = open_splits(data)
        scored = _scored(splits, score_on)
        self.num_classes = len(splits.train.classes)
        torch.manual_seed(BACKBONE_SEED)
        self.backbone = build_backbone(config.backbone).to(self.device)
        self.shapes = feature_shapes(self.backbone, (config.image_size, config.image_size))
        root = Path(data.root)
        self._layout = torch.channels_last if config.channels_last else torch.contiguous_format
        self.train_images, self.train_inputs = self._open(splits.train, root, mirrored=config.augment == "flip")
        self.scored_images, self.scored_inputs = self._open(scored, root)
        self.anchors = self._grid()
        self.targets = TargetCache(self.train_images, torch.cat(self.anchors), keep=config.cache_targets)
        self._root = root
        self._warm: dict[int, dict[str, Tensor]] = {}
        self._warmed(config.neck.channels)

    def run(self, genotype: Genotype, seed: int, callbacks: TrialCallbacks = NO_CALLBACKS) -> Trained:
        """Train and score one candidate; the same seed gives the same weights again, on the CPU to the last bit,
        whatever rungs it passes and however often it continues from a checkpoint.

        Args:
            callbacks: what they raise ends the trial and comes out of here as it is.

        Raises:
            TrialError: when the training fails, with the reason.
        """
        config = self.config.neck
        if callbacks.channels is not None:
            config = replace(config, channels=callbacks.channels)
        return self.run_neck(partial(candidate_neck, genotype, config=config), seed, callbacks)

    def run_neck(
        self, build: BuildNeck, seed: int, callbacks: TrialCallbacks = NO_CALLBACKS, phases: Phases = NO_PHASES
    ) -> Trained:
        """As `run`, for any neck whose levels are those of the configuration.

        Args:
            build: (channels, levels) of the backbone's maps -> a neck with fresh weights.
            phases: learns where the time goes.
        """
        torch.manual_seed(seed)
        torch.set_num_threads(self.config.threads)
        reset_peak_memory(self.device)
        with phases.during("setup"):
            detector = self.detector(build)
            neck = detector.backbone.neck
            cost = self._cost(neck)
        callbacks.before_training(cost, neck)
        training = self.training(detector, seed, phases, callbacks.start)
        attempt = Attempt(training, partial(self._evaluate, detector, cost, phases), callbacks)
        metrics: dict[str, float | None] = {**attempt.run()}
        with phases.during("setup"):
            metrics["latency_ms"] = min(cost["latency_ms"], latency_ms(neck, self.shapes, self.device))
        metrics |= {"peak_memory_mb": peak_memory_mb(self.device), **attempt.seconds}
        metrics |= {"steps": training.step, "loss": training.loss}
        if attempt.resumed_at is not None:
            metrics["resumed_at"] = attempt.resumed_at
        weights = None
        if callbacks.keeps_weights and attempt.stopped_at is None:
            weights = packed_weights(
                _genotype(neck), trained_part(one_stage(detector), frozen=self.config.backbone.frozen)
            )
        inherited = callbacks.start is not None
        return Trained(metrics, neck.eval().cpu(), attempt.stopped_at, inherited=inherited, weights=weights)

    def detector(self, build: BuildNeck, *, warm: bool = True) -> Detector:
        """A fresh detector of backbone, neck and head, whose stem and head start from the warm weights.

        Args:
            build: as in `run_neck`.
            warm: False for a stem and a head with fresh weights.

        Raises:
            ValueError: for a neck of other levels than the configured.
        """
        backbone = self.backbone
        if not self.config.backbone.frozen:
            backbone = build_backbone(self.config.backbone)
        neck = build(backbone.channels, backbone.levels)
        if neck.out_levels != self.config.neck.levels:
            raise ValueError(f"the proxy task takes necks of levels {self.config.neck.levels}, got {neck.out_levels}")
        config = self.config
        if config.detector == "faster_rcnn":
            two_stage = build_faster_rcnn(backbone, neck, self.num_classes, config.two_stage, config.image_size)
            return two_stage.to(self.device, memory_format=self._layout)
        detector = build_detector(backbone, neck, self.num_classes, config.head, config.image_size)
        if warm:
            start_from(detector, self._warmed(neck.out_channels))
        return detector.to(self.device, memory_format=self._layout)

    def estimate(self) -> float:
        """Seconds that a trial will take: a few steps of FPN, and a third of a step's time per image to score."""
        build = partial(candidate_neck, known.fpn(self.config.neck.levels), config=self.config.neck)
        training = self.training(self.detector(build), 0)
        marks = [time.perf_counter()]
        for _ in islice(training.steps(), ESTIMATE_STEPS):
            training.check_loss()
            marks.append(time.perf_counter())
        if len(marks) == 1:
            return 0.0
        per_step = statistics.median(after - before for before, after in pairwise(marks))
        scoring = len(self.scored_inputs) / min(self.config.batch_size, self.train_images.num_images) / 3
        return per_step * (self.config.steps + scoring)

    def training(
        self, detector: Detector, seed: int, phases: Phases = NO_PHASES, start: Start | None = None
    ) -> Training:
        """The training of a fresh detector, which takes over the weights that it is to start from."""
        config, digest = self.config, None
        if start is not None:
            config, digest = short_config(config, start), hashlib.sha256(start.weights).hexdigest()
            part = trained_part(one_stage(detector), frozen=config.backbone.frozen)
            start_from_weights(part, _genotype(detector.backbone.neck), start.weights)
        kind = TwoStageTraining if config.detector == "faster_rcnn" else Training
        return kind(detector, self.train_inputs, self.targets, config, seed, self.device, phases, digest)

    def _warmed(self, channels: int) -> dict[str, Tensor]:
        """Weights of stem and head that trainings of this width start from; none without `warm_steps`."""
        if not self.config.warm_steps:
            return {}
        if channels not in self._warm:
            config = replace(self.config, neck=replace(self.config.neck, channels=channels))
            train = partial(self._train_without_cells, warm_config(config))
            self._warm[channels] = warm_weights(config, self.train_images.split, self.backbone, self._root, train)
        return self._warm[channels]

    def _train_without_cells(self, config: ProxyConfig) -> RetinaNet:
        """Leaves the random state as it is: the trial that needs the weights has begun."""
        with forked_random_state(self.device):
            torch.manual_seed(WARM_SEED)
            bare = partial(candidate_neck, known.none(config.neck.levels), config=config.neck)
            detector = one_stage(self.detector(bare, warm=False))
            training = Training(detector, self.train_inputs, self.targets, config, WARM_SEED, self.device)
            for _ in training.steps():
                pass
        return detector

    def _cost(self, neck: Neck) -> dict[str, float]:
        """`params`, `macs` and `latency_ms`, the smaller of two."""
        cost = neck_cost(neck, self.shapes)
        latency = min(latency_ms(neck, self.shapes, self.device) for _ in range(2))
        return {"params": cost.params, "macs": cost.macs, "latency_ms": latency}

    def _evaluate(self, detector: Detector, cost: Mapping[str, float], phases: Phases) -> dict[str, float]:
        anchors = [level.to(self.device) for level in self.anchors]
        with phases.during("evaluation"):
            found = score(detector, self.scored_inputs, self.scored_images, anchors, self.config, self.device)
        return {**found, **cost}

    def _open(self, split: CocoSplit, root: Path, *, mirrored: bool = False) -> tuple[Letterboxed, Inputs]:
        images = Letterboxed(split, self.config.image_size, mirrored=mirrored)
        if self.config.backbone.frozen:
            return images, cached_features(images, self.backbone, root, self.device, self._layout, self.config.loaders)
        return images, ImageInputs(images, self.backbone, self._layout, self.config.loaders)

    def _grid(self) -> list[Tensor]:
        """Anchors per level; map sizes depend on the input size alone, so a neck without cells shows them."""
        size = self.config.image_size
        bare = known.none(self.config.neck.levels)
        neck = candidate_neck(bare, self.backbone.channels, self.backbone.levels, self.config.neck)
        pyramid = neck.to("meta").eval()(
            {name: torch.empty(1, *shape, device="meta") for name, shape in self.shapes.items()}
        )
        sizes = [(x.shape[-2], x.shape[-1]) for x in pyramid.values()]
        return grid_anchors(build_anchors(neck.out_levels, self.config.head), sizes, (size, size))


def one_stage(detector: Detector) -> RetinaNet:
    """The detector, where only a RetinaNet will do; the configuration allows no other there."""
    assert isinstance(detector, RetinaNet)
    return detector


def _genotype(neck: Neck) -> Genotype:
    if not isinstance(neck, MergeNeck):
        raise TrialError(f"{type(neck).__name__} has no genotype, by which it could inherit or leave weights")
    return neck.genotype


def _scored(splits: Splits, name: Literal["reward", "test"]) -> CocoSplit:
    split = splits.reward if name == "reward" else splits.test
    if split is None:
        raise DataError(
            "there is no test split to score on (data.test is null); name one that no search has seen, for example "
            '--set data.test=\'{"annotations": "annotations/instances_test.json", "images": "test"}\''
        )
    return split
