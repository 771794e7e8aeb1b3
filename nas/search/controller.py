"""Controller of a search, by name or by reference."""

from __future__ import annotations

from typing import Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from controllers import CONTROLLERS
from nas.bounds import Options
from nas.references import Name, require_known


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ControllerConfig:
    """Controller that proposes candidates."""

    name: Name = "evolution"
    """One of `controllers.CONTROLLERS`, or a reference to a class of your own (`my_file.py:HillClimbing`)."""

    options: Options = Field(default_factory=dict)
    """Keyword arguments of the controller, such as `{"population_size": 8}`."""

    initial: tuple[str, ...] = ()
    """Necks of the space to start from, named as in `SearchConfig.known`."""

    @model_validator(mode="after")
    def _known_name(self) -> Self:
        require_known("controller", self.name, CONTROLLERS, "my_file.py:HillClimbing")
        return self
