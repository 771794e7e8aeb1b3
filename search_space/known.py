"""The published topologies, as functions that return genotypes over any consecutive levels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from search_space.genotype import Genotype, GenotypeError, MergeCell

DEFAULT_LEVELS = (3, 4, 5, 6, 7)


def none(levels: Sequence[int] = DEFAULT_LEVELS) -> Genotype:
    """No neck at all: the stem's maps go straight to the head."""
    return Genotype(tuple(levels), ())


def same_level(levels: Sequence[int] = DEFAULT_LEVELS) -> Genotype:
    """One convolution per level and no cross-scale connection: the control for capacity alone."""
    return Genotype(tuple(levels), tuple(_convolve(levels, range(len(levels)))))


def fpn(levels: Sequence[int] = DEFAULT_LEVELS) -> Genotype:
    """Feature Pyramid Network (arXiv 1612.03144): sums run down, each is then convolved on its own."""
    cells, sums = _top_down_sums(levels)
    return Genotype(tuple(levels), (*cells, *_convolve(levels, sums)))


def panet(levels: Sequence[int] = DEFAULT_LEVELS) -> Genotype:
    """FPN and PANet's bottom-up path (arXiv 1803.01534): the chain passes each map after its convolution.

    The way down is the recipe's resampling, as everywhere in a genotype; PANet has a strided convolution there.
    """
    cells = list(fpn(levels).cells)
    finest = len(levels) + len(levels) - 1
    chain = finest
    for offset, level in enumerate(levels[1:], start=1):
        cells.append(MergeCell(level, (finest + offset, chain)))
        chain = len(levels) + len(cells) - 1
    return Genotype(tuple(levels), tuple(cells))


def pafpn(levels: Sequence[int] = DEFAULT_LEVELS) -> Genotype:
    """mmdetection's PAFPN: FPN, then a bottom-up chain of sums taken before the last convolutions."""
    cells = list(fpn(levels).cells)
    finest = len(levels) + len(levels) - 1
    chain = finest
    sums = []
    for offset, level in enumerate(levels[1:], start=1):
        sums.append(MergeCell(level, (finest + offset, chain), transform="none"))
        chain = finest + len(levels) + offset - 1
    first_sum = finest + len(levels)
    outputs = [MergeCell(level, (first_sum + offset,)) for offset, level in enumerate(levels[1:])]
    return Genotype(tuple(levels), (*cells, *sums, *outputs))


def bifpn(levels: Sequence[int] = DEFAULT_LEVELS) -> Genotype:
    """One BiFPN layer (arXiv 1911.09070): down, then up with an extra edge from each input, weighted fusion."""
    top = len(levels) - 1
    cells: list[MergeCell] = []
    latest = list(range(len(levels)))

    def add(offset: int, inputs: tuple[int, ...]) -> None:
        cells.append(MergeCell(levels[offset], inputs, "fast_normalized"))
        latest[offset] = len(levels) + len(cells) - 1

    for offset in reversed(range(top)):
        add(offset, (offset, latest[offset + 1]))
    for offset in range(1, top):
        add(offset, (offset, latest[offset], latest[offset - 1]))
    if top:
        add(top, (top, latest[top - 1]))
    return Genotype(tuple(levels), tuple(cells))


def nas_fpn(levels: Sequence[int] = DEFAULT_LEVELS) -> Genotype:
    """The cell found and published by NAS-FPN (arXiv 1904.07392 figure 6).

    Raises:
        GenotypeError: for levels other than P3..P7, where the published cell is not defined.
    """
    if tuple(levels) != DEFAULT_LEVELS:
        raise GenotypeError(f"the published NAS-FPN cell is defined on levels {DEFAULT_LEVELS}, got {tuple(levels)}")
    cells = (
        MergeCell(4, (1, 3), "attention"),
        MergeCell(4, (1, 5), "sum"),
        MergeCell(3, (0, 6), "sum"),
        MergeCell(4, (6, 7), "sum"),
        MergeCell(5, (7, 8), "attention"),
        MergeCell(7, (6, 9), "attention"),
        MergeCell(6, (9, 10), "attention"),
    )
    return Genotype(DEFAULT_LEVELS, cells, merge_dangling=True)


KNOWN: dict[str, Callable[..., Genotype]] = {
    "none": none,
    "same_level": same_level,
    "fpn": fpn,
    "panet": panet,
    "pafpn": pafpn,
    "bifpn": bifpn,
    "nas_fpn": nas_fpn,
}


def known_genotype(name: str, levels: Sequence[int] = DEFAULT_LEVELS) -> Genotype:
    """A published topology by name, over `levels`.

    Raises:
        GenotypeError: for an unknown name, or levels that the topology is not defined on.
    """
    if name not in KNOWN:
        raise GenotypeError(f"unknown neck {name!r}; known are {', '.join(KNOWN)}")
    return KNOWN[name](tuple(levels))


def _top_down_sums(levels: Sequence[int]) -> tuple[list[MergeCell], list[int]]:
    """Cells that sum from the coarsest level down, and per level (fine to coarse) the node of its sum."""
    top = len(levels) - 1
    sums = [top]
    cells = []
    for offset in reversed(range(top)):
        cells.append(MergeCell(levels[offset], (offset, sums[0]), transform="none"))
        sums.insert(0, len(levels) + len(cells) - 1)
    return cells, sums


def _convolve(levels: Sequence[int], nodes: Sequence[int]) -> list[MergeCell]:
    return [MergeCell(level, (node,)) for level, node in zip(levels, nodes, strict=True)]
