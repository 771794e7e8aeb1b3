"""One training to do, and what is known of it afterwards."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from nas.configuration import to_dict
from nas.data.config import DataConfig
from nas.data.image_files import MAX_PIXELS
from nas.detection.config import TwoStageConfig
from nas.proxy.config import ProxyConfig
from search_space import Genotype

Metrics = dict[str, Any]

LATER_OF_DATA = {"categories": None, "value_range": None, "max_pixels": MAX_PIXELS}
"""Fields of the data that the first version had not, with the values that change nothing."""
LATER_OF_PROXY = {"detector": "retinanet", "two_stage": to_dict(TwoStageConfig()), "cuda_graph": "auto", "loaders": 0}
"""The same of the proxy task."""


@dataclass(frozen=True)
class TrainingJob:
    """A neck, how it is trained and scored, and the seed.

    Args:
        label: for people; not part of what the job is.
        group: as the label; jobs are compared within and between groups.
        topology: a genotype, or a name of `necks.NECKS`.
        content: identifies what lies behind the names in `proxy` and `data`, see `content_of`.
        profiled: as the label; whether phases are measured on a GPU, too, which slows it down.
    """

    label: str
    group: str
    topology: Genotype | str
    proxy: ProxyConfig
    data: DataConfig
    seed: int
    content: str = ""
    split: Literal["reward", "test"] = "reward"
    profiled: bool = False

    def __str__(self) -> str:
        return f"{self.label}, seed {self.seed}"

    @cached_property
    def key(self) -> str:
        """Equal exactly for jobs that would train and score the same."""
        identity = {
            "genotype": self.topology if isinstance(self.topology, str) else self.topology.to_json(indent=None),
            "proxy": _without_later_fields(to_dict(self.proxy), LATER_OF_PROXY),
            "data": _without_later_fields(to_dict(self.data), LATER_OF_DATA),
            "content": self.content,
            "seed": self.seed,
            "split": self.split,
        }
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]


def plain_topology(topology: Genotype | str) -> dict[str, Any] | str:
    """A topology as JSON takes it."""
    return topology if isinstance(topology, str) else topology.to_dict()


def _without_later_fields(fields: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    """A configuration as older versions wrote it, so that what they trained is found again."""
    return {name: value for name, value in fields.items() if name not in later or value != later[name]}


@dataclass(frozen=True)
class Result:
    """Result of a job: metrics, or the reason why there are none."""

    metrics: Metrics | None
    error: str | None = None

    @property
    def ap(self) -> float | None:
        return None if self.metrics is None else float(self.metrics["AP"])
