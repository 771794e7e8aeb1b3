"""Start, callbacks, result and failure of a candidate's training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from necks import Neck


class TrialError(RuntimeError):
    """Error for a candidate that could not be trained or scored. Its message is the reason in the journal."""


@dataclass(frozen=True)
class Start:
    """Start of a training from the weights of another candidate.

    Args:
        weights: weights of the other candidate: its `Trained.weights`.
        steps: number of steps of this training, instead of the configured number.
        lr: learning rate of this training, as a share of the configured one.
    """

    weights: bytes
    steps: int
    lr: float = 1.0


class TrialCallbacks:
    """Callbacks of a running trial. The defaults do nothing.

    A task may ignore all of them. Then its trials cannot be stopped at rungs, resumed, or rejected before the training.
    A task that ignores `start` and `keeps_weights` trains from scratch, and leaves `Trained.inherited` False.

    Attributes:
        start: weights from which the training starts; None: from scratch.
        keeps_weights: True if other trials may start from the weights of this one.
        channels: width of the neck if it differs from the task's configuration; None otherwise.
        rungs: steps in ascending order after which the task is to score the candidate and call `stops_at`.
        checkpoint_seconds: seconds between two checkpoints; None: no checkpoints.
    """

    start: Start | None = None
    keeps_weights: bool = False
    channels: int | None = None
    rungs: tuple[int, ...] = ()
    checkpoint_seconds: float | None = None

    def before_training(self, measured: Mapping[str, float], neck: Neck | None = None) -> None:
        """Check the limits before the training. To be called once.

        The limits on the measured and on your own costs are checked here. If a task never calls this method, they are
        checked after its training. The task must not catch an exception of this method: it ends the trial.

        Args:
            measured: those of `params`, `macs` and `latency_ms` that are known.
            neck: the neck, if there is one.
        """

    def stops_at(self, step: int, metrics: Mapping[str, float | None]) -> bool:
        """True if the training is to end at this rung, with these metrics as the result of the trial."""
        return False

    def load_checkpoint(self) -> bytes | None:
        """Latest checkpoint of an earlier attempt at this trial; None if there is none."""
        return None

    def save_checkpoint(self, data: bytes) -> None:
        """Save a checkpoint. It is durable when this returns."""


@dataclass(frozen=True)
class Trained:
    """Result of a candidate's training.

    Args:
        metrics: AP, AP50, ... in percent; `params`, `macs` and `latency_ms` of the neck for one image (the latency is
            the smallest of three medians, two before the training and one after it, since neighbours on the machine
            disturb it); `peak_memory_mb` of this attempt; `train_seconds` and `eval_seconds` (rungs included) of all
            attempts; `steps` of its training, those before a checkpoint included; `loss`; `resumed_at`, the step of the
            checkpoint it continued, if it did.
        neck: trained neck, in evaluation mode, on the CPU; None if the task has none to keep.
        stopped_at: rung at which the training ended; None if it ran to its end.
        inherited: True if the training started from `TrialCallbacks.start`.
        weights: weights for other trials to start from, if `TrialCallbacks.keeps_weights` asked for them.
    """

    metrics: dict[str, float | None]
    neck: Neck | None
    stopped_at: int | None = None
    inherited: bool = False
    weights: bytes | None = None
