"""Start, callbacks, result and failure of a candidate's training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from necks import Neck


class TrialError(RuntimeError):
    """A candidate that could not be trained or scored; the message is the reason that goes into the journal."""


@dataclass(frozen=True)
class Start:
    """Weights that a training starts from, and how it goes on from there.

    Args:
        weights: of another candidate, as its `Trained.weights`.
        steps: of this training, instead of the configured ones.
        lr: its learning rate as a share of the configured one.
    """

    weights: bytes
    steps: int
    lr: float = 1.0


class TrialCallbacks:
    """Callbacks of a running trial; these defaults ask nothing and keep nothing.

    A task may ignore all of them: then its trials cannot be stopped at rungs, resumed or rejected before they train.
    One that knows nothing of `start` and `keeps_weights` trains from nothing and says so (`Trained.inherited`).

    Attributes:
        start: where the training starts; None: from nothing.
        keeps_weights: whether others may start from what this trial learns.
        channels: of the neck, where they are not those of the task's configuration.
        rungs: steps, ascending, after which the candidate is scored once more and asked about.
        checkpoint_seconds: how long a training runs between two checkpoints; None: no checkpoints.
    """

    start: Start | None = None
    keeps_weights: bool = False
    channels: int | None = None
    rungs: tuple[int, ...] = ()
    checkpoint_seconds: float | None = None

    def before_training(self, measured: Mapping[str, float], neck: Neck | None = None) -> None:
        """To be called once with what is known of the cost, `params`, `macs` and `latency_ms` or some of them, and the
        neck if there is one; what it raises ends the trial and must come out of the task.

        Limits on these and costs of your own are checked here; of a task that never calls it, after the training.
        """

    def stops_at(self, step: int, metrics: Mapping[str, float | None]) -> bool:
        """True to end the training at this rung, with these metrics as the trial's."""
        return False

    def load_checkpoint(self) -> bytes | None:
        """The latest checkpoint of an earlier attempt at this trial, if there is one."""
        return None

    def save_checkpoint(self, data: bytes) -> None:
        """Keep a checkpoint; durable when this returns."""


@dataclass(frozen=True)
class Trained:
    """Result of a candidate's training.

    Args:
        metrics: AP, AP50, ... in percent; `params`, `macs` and `latency_ms` of the neck for one image (the latency is
            the smallest of three medians, two before the training and one after it, since neighbours on the machine
            disturb it); `peak_memory_mb` of this attempt; `train_seconds` and `eval_seconds` (rungs included) of all
            attempts; `steps` of its training, those before a checkpoint included; `loss`; `resumed_at`, the step of the
            checkpoint it continued, if it did.
        neck: trained, in evaluation mode, on the CPU; None for a task that has none to keep.
        stopped_at: the rung at which the training ended, or None if it ran to its end.
        inherited: whether the training started from `TrialCallbacks.start`.
        weights: for others to start from, if they were asked for.
    """

    metrics: dict[str, float | None]
    neck: Neck | None
    stopped_at: int | None = None
    inherited: bool = False
    weights: bytes | None = None
