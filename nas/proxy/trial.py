"""What a candidate's training gives, and how it fails."""

from __future__ import annotations

from dataclasses import dataclass

from necks import Neck


class TrialError(RuntimeError):
    """A candidate that could not be trained or scored; the message is the reason that goes into the journal."""


@dataclass(frozen=True)
class Trained:
    """What a proxy task says of a candidate.

    Args:
        metrics: AP, AP50, ... in percent; `params`, `macs` and `latency_ms` of the neck for one image (the latency is
            the smaller median of before and after the training, since neighbours on the machine disturb it);
            `peak_memory_mb`; `train_seconds`, `eval_seconds`, `loss`.
        neck: trained, in evaluation mode, on the CPU.
    """

    metrics: dict[str, float | None]
    neck: Neck
