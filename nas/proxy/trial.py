"""What a candidate's training gives, and how it fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from necks import Neck


class TrialError(RuntimeError):
    """A candidate that could not be trained or scored; the message is the reason that goes into the journal."""


class Hooks:
    """What a trial tells and asks while it runs; as it stands, nothing is asked and nothing kept.

    Attributes:
        limited: whether `before_training` may refuse the candidate, so that its latency is worth a second look.
        rungs: steps, ascending, after which the candidate is scored once more and asked about.
        checkpoint_seconds: how long a training runs between two checkpoints; None: no checkpoints.
    """

    limited: bool = False
    rungs: tuple[int, ...] = ()
    checkpoint_seconds: float | None = None

    def before_training(self, measured: Mapping[str, float]) -> None:
        """Called with `params`, `macs` and `latency_ms` of the neck; what it raises ends the trial."""

    def stops_at(self, step: int, metrics: Mapping[str, float | None]) -> bool:
        """Whether the training ends at this rung, with these metrics as the trial's."""
        return False

    def load_checkpoint(self) -> bytes | None:
        """The latest checkpoint of an earlier attempt at this trial, if there is one."""
        return None

    def save_checkpoint(self, data: bytes) -> None:
        """Keep a checkpoint; durable when this returns."""


@dataclass(frozen=True)
class Trained:
    """What a proxy task says of a candidate.

    Args:
        metrics: AP, AP50, ... in percent; `params`, `macs` and `latency_ms` of the neck for one image (the latency is
            the smaller median of before and after the training, since neighbours on the machine disturb it; that of
            before if the training was stopped); `peak_memory_mb` of this attempt; `train_seconds` and `eval_seconds`
            (rungs included) of all attempts; `steps` of its training, those before a checkpoint included; `loss`;
            `resumed_at`, the step of the checkpoint it continued, if it did.
        neck: trained, in evaluation mode, on the CPU; None for a task that has none to keep.
        stopped_at: the rung at which the training ended, or None if it ran to its end.
    """

    metrics: dict[str, float | None]
    neck: Neck | None
    stopped_at: int | None = None
