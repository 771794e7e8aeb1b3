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
from nas.proxy.config import ProxyConfig
from search_space import Genotype

Metrics = dict[str, Any]

LATER = {"categories": None, "value_range": None, "max_pixels": MAX_PIXELS}
"""Fields of the data that the first version had not, with the values that change nothing."""


@dataclass(frozen=True)
class TrainingJob:
    """A neck, how it is trained and scored, and the seed.

    Args:
        content: identifies what lies behind the names in `proxy` and `data`, see `content_of`.
        label: for people; not part of what the job is.
        group: as the label; jobs are compared within and between groups.
        profiled: as the label; whether phases are measured on a GPU, too, which slows it down.
    """

    label: str
    group: str
    genotype: Genotype
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
            "genotype": self.genotype.to_json(indent=None),
            "proxy": to_dict(self.proxy),
            "data": _without_later_fields(self.data),
            "content": self.content,
            "seed": self.seed,
            "split": self.split,
        }
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]


def _without_later_fields(data: DataConfig) -> dict[str, Any]:
    """A data configuration as older versions wrote it, so that what they trained is found again."""
    fields = to_dict(data)
    return {name: value for name, value in fields.items() if name not in LATER or value != LATER[name]}


@dataclass(frozen=True)
class Result:
    """Result of a job: metrics, or the reason why there are none."""

    metrics: Metrics | None
    error: str | None = None

    @property
    def ap(self) -> float | None:
        return None if self.metrics is None else float(self.metrics["AP"])
