"""Search space of a search, by name or by reference."""

from __future__ import annotations

from typing import Any, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from nas.bounds import Int, Options
from nas.configuration import ConfigError
from nas.references import Name, call, is_reference, require_known
from search_space import MAX_INPUTS, MAX_SPACE_CELLS, NasFpnSpace, PyramidSpace, SearchSpace

SPACE_FIELDS = {
    "nas_fpn": ("num_cells",),
    "pyramid": ("min_cells", "max_cells", "max_inputs", "merges", "transforms"),
}


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class SpaceConfig:
    """Search space of genotypes. None in a field stands for the default of the space.

    Fields of other spaces must stay None.
    """

    name: Name = "nas_fpn"
    """`nas_fpn` is the paper's space. `pyramid` is wider, and also contains FPN, PANet, PAFPN and BiFPN. A reference
    (`my_file.py:space`) names a class or function that is called with `levels` and the options, and returns a
    `SearchSpace`."""

    options: Options = Field(default_factory=dict)
    """Keyword arguments of a space by reference."""

    num_cells: Int | None = Field(default=None, ge=1, le=MAX_SPACE_CELLS)
    """Number of merge cells in `nas_fpn` (default 7). The last cells are the outputs, one per level."""

    min_cells: Int | None = Field(default=None, ge=0, le=MAX_SPACE_CELLS)
    """Smallest number of cells in `pyramid`. The fields below are of `pyramid` as well."""

    max_cells: Int | None = Field(default=None, ge=1, le=MAX_SPACE_CELLS)
    max_inputs: Int | None = Field(default=None, ge=1, le=MAX_INPUTS)
    merges: tuple[str, ...] | None = None
    transforms: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _own_fields(self) -> Self:
        require_known("space", self.name, SPACE_FIELDS, "my_file.py:space")
        if self.name == "nas_fpn" and self.num_cells is None:
            object.__setattr__(self, "num_cells", 7)
        own = SPACE_FIELDS.get(self.name, ("options",))
        every = {**SPACE_FIELDS, "by reference": ("options",)}
        for space, names in every.items():
            given = [name for name in names if getattr(self, name) not in (None, {}) and name not in own]
            if given:
                raise ValueError(
                    f"{', '.join(given)} belongs to the space {space}; {self.name} has {', '.join(own)}; leave it out, "
                    f"or set it to {'null' if space in SPACE_FIELDS else '{}'}"
                )
        return self

    def arguments(self) -> dict[str, Any]:
        """Fields of the named space that are set, by name."""
        values = {name: getattr(self, name) for name in SPACE_FIELDS.get(self.name, ())}
        return {name: value for name, value in values.items() if value is not None}


def make_space(config: SpaceConfig, levels: tuple[int, ...]) -> SearchSpace:
    """Search space of a configuration.

    Raises:
        ConfigError: if cells and levels do not fit together, or a reference does not return a search space.
    """
    try:
        if is_reference(config.name):
            space = call(config.name, levels=levels, **config.options)
        else:
            space = {"nas_fpn": NasFpnSpace, "pyramid": PyramidSpace}[config.name](levels=levels, **config.arguments())
    except ConfigError as error:
        raise ConfigError(f"space.name: {error}") from error
    except Exception as error:
        if is_reference(config.name):
            raise ConfigError(f"space.name: {config.name} failed: {type(error).__name__}: {error}") from error
        raise ConfigError(f"space: {error}") from error
    if not isinstance(space, SearchSpace):
        raise ConfigError(f"space.name: {config.name} must make a SearchSpace, it returned a {type(space).__name__}")
    return space
