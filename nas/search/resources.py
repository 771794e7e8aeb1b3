"""Resources of a search's trials."""

from __future__ import annotations

from pydantic import ConfigDict, Field, field_validator
from pydantic.dataclasses import dataclass

from nas.bounds import MAX_PROCESSES, MAX_RETRIES, MAX_SECONDS, MIN_SHARE, Float, Int


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ResourceConfig:
    """Resources of one trial, and how many run at once."""

    cpus: Float = Field(default=1, ge=MIN_SHARE, le=MAX_PROCESSES)
    gpus: Float = Field(default=0, ge=0, le=MAX_PROCESSES)
    """A fraction lets several trials share a GPU; it is bookkeeping, not isolation."""

    workers: Int | None = Field(default=None, ge=1, le=MAX_PROCESSES)
    """Trials at once; by default as many as the CPUs and GPUs allow."""

    max_retries: Int = Field(default=2, ge=0, le=MAX_RETRIES)
    """How often a trial is tried again when its worker dies; errors of the trial itself are not retried."""

    trial_seconds: Float | None = Field(default=None, gt=0, le=MAX_SECONDS)
    """A trial that takes longer is ended and failed; None: no limit."""

    checkpoint_seconds: Float | None = Field(default=None, ge=0, le=MAX_SECONDS)
    """So often a trial saves how far it is, and goes on from there when its worker died; None: it starts anew."""

    wait_seconds: Float = Field(default=60, ge=0, le=MAX_SECONDS)
    """How long to wait on a cluster for a machine with room for a trial, when there is none (any more)."""

    @field_validator("gpus")
    @classmethod
    def _share(cls, gpus: float) -> float:
        if 0 < gpus < MIN_SHARE:
            raise ValueError(f"gpus must be 0 or {MIN_SHARE} at least, got {gpus}")
        return gpus
