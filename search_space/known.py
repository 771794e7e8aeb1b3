"""Published topologies: functions that return genotypes over any consecutive levels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from search_space.bounds import GenotypeError
from search_space.genotype import Genotype, MergeCell

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
    chain = _Chain(levels)
    chain.down(len(levels) - 2, lambda offset: [offset])
    chain.up(1, lambda offset: sorted({offset, chain.latest[offset]}))
    return chain.genotype()


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


def fully_connected_fpn(levels: Sequence[int] = DEFAULT_LEVELS) -> Genotype:
    """Every level is made of all levels, the ablation that EfficientDet (arXiv 1911.09070 table 5) names so."""
    nodes = range(len(levels))
    inputs = [(own, *(node for node in nodes if node != own)) for own in nodes]
    cells = (MergeCell(level, own, "fast_normalized") for level, own in zip(levels, inputs, strict=True))
    return Genotype(tuple(levels), tuple(cells))


def pan(levels: Sequence[int] = DEFAULT_LEVELS) -> Genotype:
    """effdet's simplified PANet: a convolved cell per level on the way down, and again on the way up."""
    chain = _Chain(levels)
    chain.down(len(levels) - 1, lambda offset: [chain.latest[offset]])
    chain.up(0, lambda offset: [chain.latest[offset]])
    return chain.genotype()


def quad_fpn(levels: Sequence[int] = DEFAULT_LEVELS) -> Genotype:
    """effdet's quad FPN (after IEEE 9225379): down then up, up then down, and the two results merged per level."""
    top = len(levels) - 1
    first = _Chain(levels)
    first.down(top - 1, lambda offset: [first.latest[offset]])
    first.up(1, lambda offset: sorted({offset, first.latest[offset]}))
    second = _Chain(levels, first.cells)
    second.up(1, lambda offset: [offset])
    second.down(top - 1, lambda offset: sorted({offset, second.latest[offset]}))
    for level, pair in zip(levels, zip(first.latest, second.latest, strict=True), strict=True):
        second.cells.append(MergeCell(level, tuple(dict.fromkeys(pair)), "fast_normalized"))
    return second.genotype()


KNOWN: dict[str, Callable[..., Genotype]] = {
    "none": none,
    "same_level": same_level,
    "fpn": fpn,
    "panet": panet,
    "pafpn": pafpn,
    "bifpn": bifpn,
    "nas_fpn": nas_fpn,
    "fully_connected_fpn": fully_connected_fpn,
    "pan": pan,
    "quad_fpn": quad_fpn,
}


def known_genotype(name: str, levels: Sequence[int] = DEFAULT_LEVELS) -> Genotype:
    """Genotype of a published topology over `levels`.

    Raises:
        GenotypeError: for an unknown name, levels that are none, or levels that the topology is not defined on.
    """
    if name not in KNOWN:
        raise GenotypeError(f"unknown neck {name!r}; known are {', '.join(KNOWN)}")
    Genotype(tuple(levels), ())
    return KNOWN[name](tuple(levels))


class _Chain:
    """Weighted cells that run down and up the levels, each with what its level has and the neighbour's latest node.

    Attributes:
        latest: per level, fine to coarse, the last node of this chain there.
    """

    def __init__(self, levels: Sequence[int], before: Sequence[MergeCell] = ()) -> None:
        self.levels = tuple(levels)
        self.cells = list(before)
        self.latest = list(range(len(levels)))

    def down(self, start: int, own: Callable[[int], list[int]]) -> None:
        """From offset `start` to the finest level."""
        for offset in range(start, -1, -1):
            self._add(offset, own(offset), offset + 1)

    def up(self, start: int, own: Callable[[int], list[int]]) -> None:
        """From offset `start` to the coarsest level."""
        for offset in range(start, len(self.levels)):
            self._add(offset, own(offset), offset - 1)

    def genotype(self) -> Genotype:
        return Genotype(self.levels, tuple(self.cells))

    def _add(self, offset: int, own: list[int], neighbour: int) -> None:
        inputs = [*own, *([self.latest[neighbour]] if 0 <= neighbour < len(self.levels) else [])]
        self.cells.append(MergeCell(self.levels[offset], tuple(inputs), "fast_normalized"))
        self.latest[offset] = len(self.levels) + len(self.cells) - 1


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
