"""Arguments of `build_neck`, apart from options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from necks.contract import Neck
from necks.merge_neck import MergeNeck
from necks.recipe import Recipe
from search_space import DEFAULT_LEVELS, Genotype, known_genotype
from search_space.references import load_object

DEFAULT_CHANNELS = 256


class StackingError(ValueError):
    """Error for repeats or a recipe given to a neck that has neither, because it is a single module."""


@dataclass(frozen=True)
class Request:
    """The arguments of `build_neck`; None where the neck's own default holds."""

    name: str
    in_channels: tuple[int, ...]
    in_levels: tuple[int, ...]
    out_levels: tuple[int, ...] | None
    out_channels: int | None
    repeats: int
    recipe: Recipe | None

    def maps(
        self, levels: tuple[int, ...], channels: int = DEFAULT_CHANNELS
    ) -> tuple[tuple[int, ...], tuple[int, ...], int, tuple[int, ...]]:
        """in_channels, in_levels, out_channels, out_levels, with these defaults for the last two, of one module.

        Raises:
            StackingError: as `refuse_stacking`.
        """
        self.refuse_stacking()
        return self.in_channels, self.in_levels, self.width(channels), self.levels(levels)

    def width(self, default: int = DEFAULT_CHANNELS) -> int:
        return default if self.out_channels is None else self.out_channels

    def levels(self, default: tuple[int, ...]) -> tuple[int, ...]:
        return default if self.out_levels is None else self.out_levels

    def merge_neck(self, genotype: Genotype, recipe: Recipe, out_levels: tuple[int, ...] | None = None) -> MergeNeck:
        return MergeNeck(genotype, self.in_channels, self.in_levels, self.width(), self.repeats, recipe, out_levels)

    def of_genotype(self, genotype: Genotype) -> MergeNeck:
        """
        Raises:
            ValueError: for other output levels than the genotype's.
        """
        if self.out_levels is not None and self.out_levels != genotype.levels:
            raise ValueError(f"out_levels are the genotype's levels {genotype.levels}, got {self.out_levels}")
        return self.merge_neck(genotype, self.recipe or Recipe())

    def own(self, options: Mapping[str, Any]) -> Neck:
        """A neck of the user's, by reference.

        Raises:
            ValueError: for a reference that cannot be loaded or is not trusted, arguments that it does not take, or
                what is no neck.
        """
        self.refuse_stacking()
        wishes = {"out_channels": self.out_channels, "out_levels": self.out_levels}
        given = {name: value for name, value in wishes.items() if value is not None}
        make = load_object(self.name)
        try:
            neck = make(in_channels=self.in_channels, in_levels=self.in_levels, **given, **options)
        except TypeError as error:
            raise ValueError(f"{self.name} cannot be made: {error}") from error
        if not isinstance(neck, Neck):
            raise ValueError(f"{self.name} must make a necks.Neck, it made a {type(neck).__name__}")
        return neck

    def known(self, name: str) -> MergeNeck:
        """A known topology in the project's own style, over P3..P7 unless other levels are asked for."""
        return self.of_genotype(known_genotype(name, self.levels(DEFAULT_LEVELS)))

    def refuse_stacking(self) -> None:
        """
        Raises:
            StackingError: if a neck that is one module was asked for with repeats or a recipe.
        """
        if self.repeats != 1 or self.recipe is not None:
            raise StackingError(f"{self.name} has neither repeats nor a recipe; leave them out")

    def refuse_recipe(self) -> None:
        """
        Raises:
            ValueError: if a neck made after an implementation was asked for with another recipe.
        """
        if self.recipe is not None:
            raise ValueError(f"{self.name} has the recipe of that implementation; leave it out")
