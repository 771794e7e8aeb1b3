"""Task of a search, which trains and scores a candidate, by name or by reference."""

from __future__ import annotations

from typing import Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from nas.bounds import Options
from nas.references import Name, require_known

PROXY = "proxy"


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class TaskConfig:
    """Task that trains and scores a candidate."""

    name: Name = PROXY
    """`proxy` trains a RetinaNet as `SearchConfig.proxy` says. A reference names a task of your own: a class, made once
    per worker from the SearchConfig and the options, whose method `run(genotype, seed, callbacks)` returns metrics; or
    a function `(genotype, seed, callbacks, **options)` that returns them."""

    options: Options = Field(default_factory=dict)
    """Keyword arguments of a task by reference."""

    @model_validator(mode="after")
    def _known_name(self) -> Self:
        require_known("task", self.name, (PROXY,), "my_file.py:MyTask")
        if self.name == PROXY and self.options:
            raise ValueError("the task proxy has no options; set the fields of proxy instead")
        return self

    @property
    def is_proxy(self) -> bool:
        """True for this project's own task."""
        return self.name == PROXY
