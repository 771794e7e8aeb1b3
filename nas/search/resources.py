"""Resources of a search's trials."""

from __future__ import annotations

from pydantic import ConfigDict, Field, field_validator
from pydantic.dataclasses import dataclass

from nas.bounds import MAX_PROCESSES, MAX_RETRIES, MAX_SECONDS, MIN_SHARE, Float, Int


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ResourceConfig:
    """Resources of one trial, and limits on trials."""

    cpus: Float = Field(default=1, ge=MIN_SHARE, le=MAX_PROCESSES)
    gpus: Float = Field(default=0, ge=0, le=MAX_PROCESSES)
    """GPUs of a trial. With a fraction, several trials share a GPU; nothing limits what each of them really uses."""

    workers: Int | None = Field(default=None, ge=1, le=MAX_PROCESSES)
    """Largest number of trials at once; None: as many as the CPUs and GPUs allow."""

    max_retries: Int = Field(default=2, ge=0, le=MAX_RETRIES)
    """How many times a trial is tried again if its worker dies. Errors of the trial itself are not retried."""

    trial_seconds: Float | None = Field(default=None, gt=0, le=MAX_SECONDS)
    """Time limit of a trial in seconds. A trial that takes longer is ended and counts as failed; None: no limit."""

    checkpoint_seconds: Float | None = Field(default=None, ge=0, le=MAX_SECONDS)
    """Seconds between two checkpoints of a trial. If its worker dies, the trial continues from the last one; None: no
    checkpoints, and the trial starts over."""

    wait_seconds: Float = Field(default=60, ge=0, le=MAX_SECONDS)
    """Seconds to wait for a machine of the cluster with room for a trial, if there is none."""

    @field_validator("gpus")
    @classmethod
    def _share(cls, gpus: float) -> float:
        if 0 < gpus < MIN_SHARE:
            raise ValueError(f"gpus must be 0 or at least {MIN_SHARE}, got {gpus}")
        return gpus
