"""Tasks, which train and score candidates in a worker."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, cast, runtime_checkable

from nas.configuration import ConfigError
from nas.proxy.config import ProxyConfig
from nas.proxy.trial import Trained, TrialCallbacks, TrialError
from nas.references import is_reference, load_object, require_callable
from nas.search.config import SearchConfig
from search_space import Genotype

__all__ = [
    "Estimating",
    "MakeTask",
    "Task",
    "Trained",
    "TrialCallbacks",
    "TrialError",
    "configured_task",
    "placed_proxy",
    "require_references",
    "require_task",
]


class Task(Protocol):
    """Task that trains and scores candidates. Each worker makes one instance.

    To use a task of your own, name it by reference in `SearchConfig.task`.
    """

    def run(self, genotype: Genotype, seed: int, callbacks: TrialCallbacks, /) -> Trained | Mapping[str, float | None]:
        """Train and score one candidate.

        Args:
            genotype: genotype of the candidate's neck; `necks.MergeNeck` builds the neck.
            seed: seed of this training. For `nasfpn rerun`, a trial must give the same metrics with the same seed.
            callbacks: callbacks to the search during the training.

        Returns:
            Metrics by name, or a `Trained` with the neck as well, so that its weights can be exported.

        Raises:
            TrialError: if this candidate cannot be scored. Any other exception also makes it a failed trial.
        """
        ...


@runtime_checkable
class Estimating(Protocol):
    """Task that can estimate how long a trial will take."""

    def estimate(self) -> float:
        """Estimated seconds of a trial, from a few training steps."""
        ...


MakeTask = Callable[[SearchConfig], Task]


class FunctionTask:
    """Task of a function `(genotype, seed, callbacks)`."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def run(self, genotype: Genotype, seed: int, callbacks: TrialCallbacks, /) -> Trained | Mapping[str, float | None]:
        result: Trained | Mapping[str, float | None] = self._function(genotype, seed, callbacks)
        return result


def configured_task(config: SearchConfig) -> Task:
    """The task that the configuration names; PyTorch has `proxy.threads` threads in this process from then on.

    Raises:
        ConfigError: for a reference that names no task, or one that cannot be made.
    """
    if config.task.is_proxy:
        return _proxy_task(config)
    name, options = config.task.name, config.task.options
    named = require_task(config)
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(config.proxy.threads)  # else sums, and so results, depend on the process
    if not inspect.isclass(named):
        task: Task = named if hasattr(named, "run") else FunctionTask(partial(named, **options))
        return task
    try:
        task = cast(Any, named)(config, **options)
    except Exception as error:
        raise ConfigError(f"task.name: {name} could not be made: {type(error).__name__}: {error}") from error
    return task


def require_task(config: SearchConfig) -> Any:
    """The object that the reference names: a class or an object with a method `run`, or a function.

    Raises:
        ConfigError: if it is not there, or does not take what a task is given.
    """
    name, options = config.task.name, config.task.options
    try:
        named = load_object(name)
        if inspect.isclass(named):
            require_callable(name, named, config, **options)
            _require_run(name, named, None)
        elif hasattr(named, "run"):
            _require_run(name, named)
        else:
            require_callable(name, named, None, 0, TrialCallbacks(), **options)
    except ConfigError as error:
        raise ConfigError(f"task.name: {error}") from error
    return named


def require_references(config: SearchConfig) -> None:
    """Load what trials will call by reference: task, costs and reward.

    Raises:
        ConfigError: if one is not there, or does not take the arguments of its call.
    """
    if not config.task.is_proxy:
        require_task(config)
    calls: dict[str, tuple[Any, ...]] = dict.fromkeys(config.costs, (None, None))
    if is_reference(config.reward.objective):
        calls[config.reward.objective] = ({},)
    for name, args in calls.items():
        field = "costs" if name in config.costs else "reward.objective"
        try:
            require_callable(name, load_object(name), *args)
        except ConfigError as error:
            raise ConfigError(f"{field}: {error}") from error


def _require_run(name: str, named: Any, *self_: None) -> None:
    if not hasattr(named, "run"):
        raise ConfigError(f"{name} has no method run(genotype, seed, callbacks)")
    require_callable(f"{name}.run", named.run, *self_, None, 0, TrialCallbacks())


def _proxy_task(config: SearchConfig) -> Task:
    """The project's own task; it brings torchvision with it, which takes seconds to import."""
    from nas.proxy.task import ProxyTask

    assert config.data is not None
    return ProxyTask(placed_proxy(config), config.data)


def placed_proxy(config: SearchConfig) -> ProxyConfig:
    """The proxy task as its trials run: without a GPU where they ask for none, as Ray hides GPUs only from workers that
    ask for some.
    """
    proxy = config.proxy
    return replace(proxy, device="cpu") if proxy.device == "auto" and config.resources.gpus == 0 else proxy
