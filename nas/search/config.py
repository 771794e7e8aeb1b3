"""A search, as one frozen configuration."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from controllers import CONTROLLERS
from nas.configuration import ConfigError, load_experiment
from nas.data.config import DataConfig
from nas.proxy.config import ProxyConfig
from search_space import KNOWN, NasFpnSpace, SearchSpace

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class SpaceConfig:
    """Which genotypes there are to choose from."""

    name: Literal["nas_fpn"] = "nas_fpn"
    num_cells: int = Field(default=7, ge=1)
    """Merge cells, of which the last ones are the outputs, one per level."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ControllerConfig:
    """What proposes candidates."""

    name: str = "evolution"
    """One of `controllers.CONTROLLERS`."""

    options: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the controller, such as `{"population_size": 8}`."""

    initial: tuple[str, ...] = ()
    """Known necks of the space to start from."""

    @model_validator(mode="after")
    def _known_name(self) -> Self:
        if self.name not in CONTROLLERS:
            raise ValueError(f"controller must be one of {', '.join(CONTROLLERS)}, got {self.name!r}")
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ResourceConfig:
    """What one trial takes of the machines."""

    cpus: float = Field(default=1, gt=0)
    gpus: float = Field(default=0, ge=0)
    """A fraction lets several trials share a GPU; it is bookkeeping, not isolation."""

    workers: int | None = Field(default=None, ge=1)
    """Trials at once; by default as many as the CPUs and GPUs allow."""

    max_retries: int = Field(default=2, ge=0)
    """How often a trial is tried again when its worker dies; errors of the trial itself are not retried."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class SearchConfig:
    """Everything a search needs to know; `trials` and `resources` may change from one start to the next."""

    name: str
    data: DataConfig
    proxy: ProxyConfig = Field(default_factory=ProxyConfig)
    space: SpaceConfig = Field(default_factory=SpaceConfig)
    controller: ControllerConfig = Field(default_factory=ControllerConfig)
    resources: ResourceConfig = Field(default_factory=ResourceConfig)
    trials: int = Field(default=24, ge=1)
    """Candidates that the controller proposes."""

    random_trials: int = Field(default=8, ge=0)
    """Uniformly drawn candidates scored beside the search: its baseline."""

    known: tuple[str, ...] = ("fpn", "pafpn", "bifpn", "nas_fpn")
    """Published necks scored under the same proxy task."""

    seed: int = Field(default=0, ge=0)
    """Of the controllers, and with a trial's number of that trial's training."""

    keep_weights: int = Field(default=8, ge=1)
    """How many of the best candidates keep their trained weights; known necks always do."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in (*self.known, *self.controller.initial):
            if name not in KNOWN:
                raise ValueError(f"known necks are {', '.join(KNOWN)}; got {name!r}")
        return self

    @property
    def total_trials(self) -> int:
        """Known necks, random baseline and search together."""
        return len(set(self.known)) + self.random_trials + self.trials


LAUNCH_FIELDS = ("trials", "resources")
"""Fields that a later start of the same search may change: longer, or on another machine."""


def build_space(config: SearchConfig) -> SearchSpace:
    """
    Raises:
        ConfigError: if cells and levels do not fit together.
    """
    try:
        return NasFpnSpace(config.space.num_cells, config.proxy.neck.levels)
    except ValueError as error:
        raise ConfigError(f"space: {error}") from error


def load_search(name: str) -> SearchConfig:
    """The configuration that an experiment, `module:function` or `file.py:function`, returns.

    Raises:
        ConfigError: if it is not there, or returns something else.
    """
    config = load_experiment(name)
    if not isinstance(config, SearchConfig):
        raise ConfigError(f"{name} must return a SearchConfig, it returned {type(config).__name__}")
    return config
