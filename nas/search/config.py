"""Configuration of a search, frozen and validated when it is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from nas.search.records import RANDOM, SEARCH, Trial
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
    """Configuration of a search: everything that it needs to know.

    A later start of the same search may change `trials`, `budget`, `confirm`, `resources` and `track`, and may relax
    `constraints`. Candidates that were rejected before stay rejected.
    """

    name: str
    data: DataConfig | None = None
    """Data set. The proxy task needs one; a task of your own can do without."""

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
    """References to functions `(genotype, neck)` that return your own costs by name, such as the latency on a device.
    `constraints.max_costs`, `reward.cost` and the report can use these costs. The functions run in the worker, before
    the training."""

    storage: str | None = None
    """URL of a database for the journal, in Optuna's form (`sqlite:///FILE`, `postgresql+psycopg://HOST/NAME`); None:
    the file `journal.log` in the run directory. The URL is written to `config.json`, so it must not contain a password:
    use `PGPASSWORD` or `~/.pgpass`."""

    track: tuple[Name, ...] = ()
    """Trackers that the search is logged to: `tensorboard`, `wandb`, `mlflow`, or references to classes of your own."""

    trials: Int = Field(default=24, ge=1, le=MAX_TRIALS)
    """Number of candidates that the controller proposes. Rejected candidates do not count."""

    random_trials: Int = Field(default=8, ge=0, le=MAX_TRIALS)
    """Number of candidates in the random baseline; they are drawn uniformly from the space."""

    random_budget: Literal["steps", "trials"] = "steps"
    """Unit of `random_trials`. `steps`: whole trainings. Steps that rungs save on random candidates pay for more random
    candidates, so the baseline uses the training steps of `random_trials` whole trainings. `trials`: candidates,
    whether stopped early or not."""

    known: tuple[str, ...] = ("fpn", "pafpn", "bifpn", "nas_fpn", "pan", "quad_fpn")
    """Known necks, scored by the same task for comparison. Each is the name of a published neck, a genotype's JSON
    file, an exported directory, `RUN_DIR:TRIAL`, a name in the field `necks`, or a reference to a `Genotype` or to a
    function that returns one for given levels."""

    necks: dict[str, PlainGenotype] = Field(default_factory=dict)
    """Genotypes by name, for `known` and `controller.initial`. The command `nasfpn search` adds the genotypes of files,
    exports and trials that are named there, so that the run directory is complete."""

    known_width: Literal["equal", "same"] = "equal"
    """Number of channels of the known necks. `equal`: as many as `constraints.max_macs` allows for each neck, so that
    all spend about the same multiply-adds; without that limit, as many as the candidates have. `same`: always as many
    as the candidates have."""

    candidate_width: Literal["equal", "same"] = "same"
    """Number of channels of the candidates. `equal`: as many as `constraints.max_macs` allows, so that a candidate with
    fewer or coarser convolutions is wider. `same`: always `proxy.neck.channels`."""

    seed: Int = Field(default=0, ge=0, le=MAX_SEED)
    """Seed of the controllers. The seed of a trial's training is derived from it and the trial's number."""

    keep_weights: Int = Field(default=8, ge=1, le=MAX_TRIALS)
    """Number of best candidates whose trained weights are kept, new necks first. Known necks always keep theirs."""

    @model_validator(mode="after")
    def _data_for_proxy(self) -> Self:
        if self.data is None and self.task.is_proxy:
            raise ValueError("data is missing: the proxy task needs a data set, such as data=DataConfig(root=...)")
        return self

    @model_validator(mode="after")
    def _spends_what_it_has(self) -> Self:
        if self.budget.gpu_hours is not None and not self.resources.gpus:
            raise ValueError(
                "budget.gpu_hours needs trials on GPUs, but resources.gpus is 0: set resources.gpus, or budget.hours"
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
                f"reward.cost must be one of {', '.join(COSTS)}, or a cost that a function of costs returns, "
                f"got {cost!r}"
            )
        if self.constraints.max_costs and not self.costs:
            raise ValueError(
                "constraints.max_costs limits costs of your own, but costs names no function that returns them: "
                "set costs"
            )
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
            raise ValueError(
                "inherit.steps works only with the detector retinanet: set inherit.steps=0, or proxy.detector=retinanet"
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
                raise ValueError(f"storage {self.storage!r} is kept in memory only; give a file, sqlite:///FILE")
            object.__setattr__(self, "storage", scheme + str(Path(path).resolve()))
        return self

    @property
    def total_trials(self) -> int:
        """Number of trials of known necks, random baseline and controller together, if no budget ends them earlier.
        Trials of the confirmation come on top."""
        return len(set(self.known)) + self.random_trials + self.trials

    def more_random(self, budget: Budget) -> int:
        """Number of random candidates beyond `random_trials`, from the steps saved so far; see `random_budget`."""
        return budget.trainings_saved if self.random_budget == "steps" else 0

    def budget_of(self, trials: Sequence[Trial], clock: Callable[[], float] | None = None) -> Budget:
        """Rest of the budget after these trials; see `Budget`."""
        steps = self.proxy.steps if self.task.is_proxy else None
        return Budget(self.budget, self.resources.gpus, self.confirm.trainings, steps, trials, clock)

    def planned_trials(self, budget: Budget, begun: Mapping[str, int]) -> int:
        """Estimated number of trials of the search before its confirmation.

        Args:
            begun: trials begun so far by origin, without rejected ones. An earlier start may have wanted more of one.
        """
        so_far, known = sum(begun.values()), len(set(self.known))
        if budget.is_spent:
            return max(so_far, known)
        random = max(self.random_trials + self.more_random(budget), begun.get(RANDOM, 0))
        total, more = known + random + max(self.trials, begun.get(SEARCH, 0)), budget.more
        return total if more is None else min(total, so_far + more)


LAUNCH_FIELDS = ("trials", "random_budget", "budget", "confirm", "resources", "constraints", "track")
"""Fields that a later start of the same search may change. Limits may only be relaxed."""


def build_space(config: SearchConfig) -> SearchSpace:
    """Search space of a configuration, on the levels of its neck.

    Raises:
        ConfigError: see `make_space`.
    """
    return make_space(config.space, config.proxy.neck.levels)


def data_of(config: SearchConfig) -> DataConfig:
    """Data set of a search.

    Raises:
        ConfigError: if the search has none, because its task brings its own data.
    """
    if config.data is None:
        raise ConfigError(f"the search {config.name} has no data set (its task is {config.task.name}); set data")
    return config.data


def code_of(config: SearchConfig) -> tuple[str, ...]:
    """All references to the user's code in a configuration."""
    names = [config.task.name, config.space.name, *(config.space.merges or ()), config.controller.name]
    names += [config.reward.objective, *config.costs, *config.track]
    return tuple(filter(is_reference, dict.fromkeys(names)))


def load_search(name: str) -> SearchConfig:
    """Configuration that an experiment returns.

    Args:
        name: `module:function` or `file.py:function`.

    Raises:
        ConfigError: if the function does not exist, or does not return a `SearchConfig`.
    """
    config = load_experiment(name)
    if not isinstance(config, SearchConfig):
        raise ConfigError(f"{name} must return a SearchConfig, it returned {type(config).__name__}")
    return config
