"""A search, as one frozen configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from nas.bounds import MAX_SEED, MAX_TRIALS, Int
from nas.configuration import ConfigError
from nas.credentials import has_credentials, without_credentials
from nas.data.config import DataConfig
from nas.experiment import load_experiment
from nas.proxy.config import ProxyConfig
from nas.references import Name, is_reference
from nas.search.budget import Budget, BudgetConfig
from nas.search.confirmation import ConfirmConfig
from nas.search.constraints import ConstraintConfig
from nas.search.controller import ControllerConfig
from nas.search.given_necks import PlainGenotype, may_be_place, unknown_necks
from nas.search.inheritance import InheritConfig
from nas.search.records import Trial
from nas.search.resources import ResourceConfig
from nas.search.reward import AVERAGE_PRECISION, COSTS, RewardConfig
from nas.search.space import SpaceConfig, make_space
from nas.search.stopping import StoppingConfig
from nas.search.task import TaskConfig
from search_space import KNOWN, SearchSpace

__all__ = [
    "BudgetConfig",
    "ConfirmConfig",
    "ConstraintConfig",
    "ControllerConfig",
    "InheritConfig",
    "ResourceConfig",
    "RewardConfig",
    "SearchConfig",
    "SpaceConfig",
    "StoppingConfig",
    "TaskConfig",
    "build_space",
    "code_of",
    "data_of",
    "load_search",
]

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class SearchConfig:
    """Everything a search needs to know.

    From one start to the next `trials`, `budget`, `confirm`, `resources` and `track` may change, and `constraints` may
    be relaxed: what was rejected stays so, and what was accepted fits the new limits as well.
    """

    name: str
    data: DataConfig | None = None
    """Needed by the proxy task; a task of your own may go without."""

    task: TaskConfig = Field(default_factory=TaskConfig)
    proxy: ProxyConfig = Field(default_factory=ProxyConfig)
    space: SpaceConfig = Field(default_factory=SpaceConfig)
    controller: ControllerConfig = Field(default_factory=ControllerConfig)
    reward: RewardConfig = Field(default_factory=RewardConfig)
    constraints: ConstraintConfig = Field(default_factory=ConstraintConfig)
    stopping: StoppingConfig = Field(default_factory=StoppingConfig)
    confirm: ConfirmConfig = Field(default_factory=ConfirmConfig)
    inherit: InheritConfig = Field(default_factory=InheritConfig)
    resources: ResourceConfig = Field(default_factory=ResourceConfig)
    budget: BudgetConfig = Field(default_factory=BudgetConfig)
    costs: tuple[Name, ...] = ()
    """References to functions `(genotype, neck)` that return costs of your own by name, such as the latency on a
    device: for `constraints.max_costs`, `reward.cost` and the report. They run in the worker, before the training."""

    storage: str | None = None
    """Database for the journal, as a URL that Optuna takes (`sqlite:///FILE`, `postgresql+psycopg://HOST/NAME`); None:
    the file `journal.log` in the run directory. It is written into `config.json`, so a password in it is refused: leave
    that to `PGPASSWORD` or `~/.pgpass`."""

    track: tuple[Name, ...] = ()
    """Trackers that the search is logged to: `tensorboard`, `wandb`, `mlflow`, or references to classes of your own."""

    trials: Int = Field(default=24, ge=1, le=MAX_TRIALS)
    """Candidates of the controller that keep the constraints."""

    random_trials: Int = Field(default=8, ge=0, le=MAX_TRIALS)
    """Uniformly drawn candidates scored beside the search: its baseline."""

    random_budget: Literal["steps", "trials"] = "steps"
    """What `random_trials` counts. `steps`: whole trainings; steps that rungs save on random candidates go into more
    of them, so that the baseline has as many training steps as a search of so many trials. `trials`: candidates."""

    known: tuple[str, ...] = ("fpn", "pafpn", "bifpn", "nas_fpn", "pan", "quad_fpn")
    """Necks scored under the same task, for comparison: published ones by name, a genotype's JSON file, an exported
    directory, `RUN_DIR:TRIAL`, a name of `necks`, or a reference to a `Genotype` or a function of the levels."""

    necks: dict[str, PlainGenotype] = Field(default_factory=dict)
    """Genotypes by name, for `known` and `controller.initial`. The command `nasfpn search` adds those of files, exports
    and trials that are named there, so that a run directory needs nothing else."""

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
    def _data_for_proxy(self) -> Self:
        if self.data is None and self.task.is_proxy:
            raise ValueError("data is missing: the proxy task needs a data set, such as data=DataConfig(root=...)")
        return self

    @model_validator(mode="after")
    def _spends_what_it_has(self) -> Self:
        if self.budget.gpu_hours is not None and not self.resources.gpus:
            raise ValueError(
                "budget.gpu_hours is for trials on GPUs, and resources.gpus is 0: set resources.gpus, or budget.hours"
            )
        return self

    @model_validator(mode="after")
    def _measured(self) -> Self:
        metric, cost = self.reward.metric, self.reward.cost
        if self.task.is_proxy and not AVERAGE_PRECISION.fullmatch(metric):
            raise ValueError(
                "reward.metric must be an average precision of the proxy task (AP, AP50, AP75, APs, APm, APl or "
                f"AP/<class>), got {metric!r}"
            )
        if self.task.is_proxy and cost not in COSTS and not self.costs:
            raise ValueError(
                f"reward.cost must be one of {', '.join(COSTS)}, or what a function of costs returns, got {cost!r}"
            )
        if self.constraints.max_costs and not self.costs:
            raise ValueError("constraints.max_costs is on what functions of costs return: name them in costs")
        if not all(map(is_reference, self.costs)):
            raise ValueError(f"costs are references such as my_file.py:latency, got {', '.join(self.costs)}")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in unknown_necks((*self.known, *self.controller.initial), self.necks):
            if not may_be_place(name):
                raise ValueError(
                    f"known necks are {', '.join((*KNOWN, *self.necks))}; a genotype's JSON file, an exported "
                    f"directory and RUN_DIR:TRIAL are taken, too; got {name!r}"
                )
        return self

    @model_validator(mode="after")
    def _inherits(self) -> Self:
        steps = self.inherit.steps
        if steps and steps >= self.proxy.steps:
            raise ValueError(
                f"inherit.steps must be fewer than proxy.steps, {self.proxy.steps}, got {steps}; inherit.steps=0 is "
                "for no inheritance"
            )
        if steps and self.proxy.detector != "retinanet":
            raise ValueError("candidates inherit weights with the detector retinanet only: set inherit.steps=0")
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
        """Known necks, random baseline and search together, unless the budget ends them; the confirmation comes on
        top."""
        return len(set(self.known)) + self.random_trials + self.trials

    def more_random(self, budget: Budget) -> int:
        """Random candidates beyond `random_trials` by what is known now; see `random_budget`."""
        return budget.steps_saved // max(1, self.proxy.steps) if self.random_budget == "steps" else 0

    def budget_of(self, trials: Sequence[Trial], clock: Callable[[], float] | None = None) -> Budget:
        """Rest of the budget after these trials; see `Budget`."""
        return Budget(self.budget, self.resources.gpus, self.confirm.trainings, self.proxy.steps, trials, clock)

    def planned_trials(self, budget: Budget, begun: int) -> int:
        """Trials that the search will have before its confirmation, by what is known now.

        Args:
            begun: so far, rejected ones not counted.
        """
        if budget.is_spent:
            return max(begun, len(set(self.known)))
        more, total = budget.more, self.total_trials + self.more_random(budget)
        return total if more is None else min(total, begun + more)


LAUNCH_FIELDS = ("trials", "random_budget", "budget", "confirm", "resources", "constraints", "track")
"""Fields that a later start of the same search may change: longer, or on another machine; limits only upwards."""


def build_space(config: SearchConfig) -> SearchSpace:
    """
    Raises:
        ConfigError: see `make_space`.
    """
    return make_space(config.space, config.proxy.neck.levels)


def data_of(config: SearchConfig) -> DataConfig:
    """
    Raises:
        ConfigError: for a search whose task brings its own data.
    """
    if config.data is None:
        raise ConfigError(f"the search {config.name} has no data set (its task is {config.task.name}); set data")
    return config.data


def code_of(config: SearchConfig) -> tuple[str, ...]:
    """References to code of the user in a configuration."""
    names = [config.task.name, config.space.name, *(config.space.merges or ()), config.controller.name]
    names += [config.reward.objective, *config.costs, *config.track]
    return tuple(filter(is_reference, dict.fromkeys(names)))


def load_search(name: str) -> SearchConfig:
    """The configuration that an experiment, `module:function` or `file.py:function`, returns.

    Raises:
        ConfigError: if it is not there, or returns something else.
    """
    config = load_experiment(name)
    if not isinstance(config, SearchConfig):
        raise ConfigError(f"{name} must return a SearchConfig, it returned {type(config).__name__}")
    return config
