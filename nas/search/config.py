"""A search, as one frozen configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator
from pydantic.dataclasses import dataclass

from controllers import CONTROLLERS
from nas.bounds import (
    MAX_PROCESSES,
    MAX_RETRIES,
    MAX_SECONDS,
    MAX_SEED,
    MAX_TRIALS,
    MIN_SHARE,
    Float,
    Int,
    Options,
)
from nas.configuration import ConfigError
from nas.credentials import has_credentials, without_credentials
from nas.data.config import DataConfig
from nas.experiment import load_experiment
from nas.proxy.config import ProxyConfig
from nas.search.confirmation import ConfirmConfig
from nas.search.constraints import ConstraintConfig
from nas.search.inheritance import InheritConfig
from nas.search.reward import RewardConfig
from nas.search.stopping import StoppingConfig
from search_space import KNOWN, MAX_INPUTS, MAX_SPACE_CELLS, NasFpnSpace, PyramidSpace, SearchSpace

_STRICT = ConfigDict(extra="forbid")

SPACE_FIELDS = {
    "nas_fpn": ("num_cells",),
    "pyramid": ("min_cells", "max_cells", "max_inputs", "merges", "transforms"),
}


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class SpaceConfig:
    """Search space of genotypes; None in a field is the space's own default.

    Fields of the other space must stay None.
    """

    name: Literal["nas_fpn", "pyramid"] = "nas_fpn"
    """`nas_fpn` is the paper's; `pyramid` is wider, and holds FPN, PANet, PAFPN and BiFPN too."""

    num_cells: Int | None = Field(default=None, ge=1, le=MAX_SPACE_CELLS)
    """Of `nas_fpn` (default 7): merge cells, of which the last ones are the outputs, one per level."""

    min_cells: Int | None = Field(default=None, ge=0, le=MAX_SPACE_CELLS)
    """Of `pyramid`, as the fields below: fewest cells."""

    max_cells: Int | None = Field(default=None, ge=1, le=MAX_SPACE_CELLS)
    max_inputs: Int | None = Field(default=None, ge=1, le=MAX_INPUTS)
    merges: tuple[str, ...] | None = None
    transforms: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _own_fields(self) -> Self:
        if self.name == "nas_fpn" and self.num_cells is None:
            object.__setattr__(self, "num_cells", 7)
        for space, names in SPACE_FIELDS.items():
            given = [name for name in names if getattr(self, name) is not None]
            if space != self.name and given:
                raise ValueError(
                    f"{', '.join(given)} belongs to the space {space}; {self.name} has "
                    f"{', '.join(SPACE_FIELDS[self.name])}; leave it out, or set it to null"
                )
        return self

    def arguments(self) -> dict[str, Any]:
        """The fields of the named space that are set."""
        values = {name: getattr(self, name) for name in SPACE_FIELDS[self.name]}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ControllerConfig:
    """Controller that proposes candidates."""

    name: str = "evolution"
    """One of `controllers.CONTROLLERS`."""

    options: Options = Field(default_factory=dict)
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


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class SearchConfig:
    """Everything a search needs to know.

    From one start to the next `trials`, `confirm` and `resources` may change, and `constraints` may be relaxed: what
    was rejected stays so, and what was accepted fits the new limits as well.
    """

    name: str
    data: DataConfig
    proxy: ProxyConfig = Field(default_factory=ProxyConfig)
    space: SpaceConfig = Field(default_factory=SpaceConfig)
    controller: ControllerConfig = Field(default_factory=ControllerConfig)
    reward: RewardConfig = Field(default_factory=RewardConfig)
    constraints: ConstraintConfig = Field(default_factory=ConstraintConfig)
    stopping: StoppingConfig = Field(default_factory=StoppingConfig)
    confirm: ConfirmConfig = Field(default_factory=ConfirmConfig)
    inherit: InheritConfig = Field(default_factory=InheritConfig)
    resources: ResourceConfig = Field(default_factory=ResourceConfig)
    storage: str | None = None
    """Database for the journal, as a URL that Optuna takes (`sqlite:///FILE`, `postgresql+psycopg://HOST/NAME`); None:
    the file `journal.log` in the run directory. It is written into `config.json`, so a password in it is refused: leave
    that to `PGPASSWORD` or `~/.pgpass`."""

    trials: Int = Field(default=24, ge=1, le=MAX_TRIALS)
    """Candidates of the controller that keep the constraints."""

    random_trials: Int = Field(default=8, ge=0, le=MAX_TRIALS)
    """Uniformly drawn candidates scored beside the search: its baseline."""

    known: tuple[str, ...] = ("fpn", "pafpn", "bifpn", "nas_fpn", "pan", "quad_fpn")
    """Published necks scored under the same proxy task."""

    known_width: Literal["equal", "same"] = "equal"
    """Channels of the known necks. `equal`: as many as `constraints.max_macs` allows each, whatever the candidates
    have, so that all spend the same multiply-adds; without that limit, those of the candidates. `same`: always those
    of the candidates."""

    candidate_width: Literal["equal", "same"] = "same"
    """Channels of what the controllers propose, in the words of `known_width`: `equal` makes a candidate with fewer or
    coarser convolutions wider, up to `constraints.max_macs`; `same` builds all with `proxy.neck.channels`."""

    seed: Int = Field(default=0, ge=0, le=MAX_SEED)
    """Of the controllers, and with a trial's number of that trial's training."""

    keep_weights: Int = Field(default=8, ge=1, le=MAX_TRIALS)
    """How many of the best candidates keep their trained weights; known necks always do."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in (*self.known, *self.controller.initial):
            if name not in KNOWN:
                raise ValueError(f"known necks are {', '.join(KNOWN)}; got {name!r}")
        return self

    @model_validator(mode="after")
    def _inherits(self) -> Self:
        steps = self.inherit.steps
        if steps and steps >= self.proxy.steps:
            raise ValueError(
                f"inherit.steps must be fewer than proxy.steps, {self.proxy.steps}, got {steps}; inherit.steps=0 is "
                "for no inheritance"
            )
        if steps and self.candidate_width == "equal":
            raise ValueError(
                "a child can start from its parent's weights only at its parent's width: set candidate_width=same, or "
                "inherit.steps=0"
            )
        if steps and self.stopping.rungs:
            raise ValueError(
                "stopping.rungs compare trainings of one length, and those of inherit.steps have another: set "
                "stopping.rungs=[], or inherit.steps=0"
            )
        return self

    @model_validator(mode="after")
    def _no_password(self) -> Self:
        if self.storage is not None and has_credentials(self.storage):
            raise ValueError(
                f"storage {without_credentials(self.storage)} holds a password, and would be kept in config.json: "
                "leave it out of the URL, and set PGPASSWORD or write it into ~/.pgpass (MySQL: a file named by "
                "?read_default_file=) on every machine that opens the journal"
            )
        return self

    @model_validator(mode="after")
    def _same_database_everywhere(self) -> Self:
        scheme = "sqlite:///"
        if self.storage is not None and self.storage.startswith(scheme):
            path = self.storage.removeprefix(scheme)
            if path in ("", ":memory:"):
                raise ValueError(f"storage {self.storage!r} forgets everything at the end; give a file, sqlite:///FILE")
            object.__setattr__(self, "storage", scheme + str(Path(path).resolve()))
        return self

    @property
    def total_trials(self) -> int:
        """Known necks, random baseline and search together; the confirmation comes on top."""
        return len(set(self.known)) + self.random_trials + self.trials


LAUNCH_FIELDS = ("trials", "confirm", "resources", "constraints")
"""Fields that a later start of the same search may change: longer, or on another machine; limits only upwards."""


def build_space(config: SearchConfig) -> SearchSpace:
    """
    Raises:
        ConfigError: if cells and levels do not fit together.
    """
    make = {"nas_fpn": NasFpnSpace, "pyramid": PyramidSpace}[config.space.name]
    try:
        return make(levels=config.proxy.neck.levels, **config.space.arguments())
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
