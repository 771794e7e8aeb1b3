"""Task of a worker: training and scoring of candidates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, runtime_checkable

from nas.proxy.config import ProxyConfig
from nas.proxy.trial import Trained, TrialCallbacks
from nas.search.config import SearchConfig
from search_space import Genotype


class Task(Protocol):
    """Training and scoring of candidates; made once per worker."""

    def run(self, genotype: Genotype, seed: int, hooks: TrialCallbacks) -> Trained:
        """
        Raises:
            TrialError: when this candidate cannot be scored; any other exception is a failed trial, too.
        """
        ...


@runtime_checkable
class Estimating(Protocol):
    """A task that can tell how long a trial will take."""

    def estimate(self) -> float:
        """Seconds, from a few steps of training."""
        ...


MakeTask = Callable[[SearchConfig], Task]


def make_proxy_task(config: SearchConfig) -> Task:
    """The real task; it brings torchvision with it, which takes seconds to import."""
    from nas.proxy.task import ProxyTask

    return ProxyTask(placed_proxy(config), config.data)


def placed_proxy(config: SearchConfig) -> ProxyConfig:
    """The proxy task as its trials run: without a GPU where they ask for none, as Ray hides GPUs only from workers that
    ask for some.
    """
    proxy = config.proxy
    return replace(proxy, device="cpu") if proxy.device == "auto" and config.resources.gpus == 0 else proxy
