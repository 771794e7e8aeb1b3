"""Arguments of `build_neck`, apart from the name."""

from __future__ import annotations

from dataclasses import dataclass

from necks.merge_neck import MergeNeck
from necks.recipe import Recipe
from search_space import DEFAULT_LEVELS, Genotype, known_genotype

DEFAULT_CHANNELS = 256


@dataclass(frozen=True)
class Request:
    """The arguments of `build_neck`; None where the neck's own default holds."""

    in_channels: tuple[int, ...]
    in_levels: tuple[int, ...]
    out_levels: tuple[int, ...] | None
    out_channels: int | None
    repeats: int
    recipe: Recipe | None

    def maps(
        self, levels: tuple[int, ...], channels: int = DEFAULT_CHANNELS
    ) -> tuple[tuple[int, ...], tuple[int, ...], int, tuple[int, ...]]:
        """in_channels, in_levels, out_channels, out_levels, with these defaults for the last two."""
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

    def known(self, name: str) -> MergeNeck:
        """A known topology in the project's own style, over P3..P7 unless other levels are asked for."""
        return self.of_genotype(known_genotype(name, self.levels(DEFAULT_LEVELS)))

    def refuse_stacking(self, name: str) -> None:
        """
        Raises:
            ValueError: if a neck that is one module was asked for with repeats or a recipe.
        """
        if self.repeats != 1 or self.recipe is not None:
            raise ValueError(f"{name} has neither repeats nor a recipe; leave them out")

    def refuse_recipe(self, name: str) -> None:
        """
        Raises:
            ValueError: if a neck made after an implementation was asked for with another recipe.
        """
        if self.recipe is not None:
            raise ValueError(f"{name} has the recipe of that implementation; leave it out")
