"""Weights that one candidate leaves for others to start from.

They are one line of JSON, the genotype, and a safetensors file with the state of neck and head.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from nas.detection.learning import NeckAndHead
from nas.proxy.config import ProxyConfig
from nas.proxy.trial import Start, TrialError
from search_space import CellMatch, Genotype, GenotypeError, match_cells

WARM_UP = 10
"""A training that goes on from weights warms up for one of so many of its steps, at most."""

_CELL = re.compile(r"(?P<pyramid>.*\bpyramids\.\d+\.cells\.)(?P<cell>\d+)\.(?P<tensor>.+)")
_EDGE = re.compile(r"edges\.(?P<edge>\d+)\.(?P<tensor>.+)")
FUSION_WEIGHTS = "weight"
"""Name of a cell's own parameter: one number per input."""


def short_config(config: ProxyConfig, start: Start) -> ProxyConfig:
    """The training that goes on from weights: fewer steps, a share of the learning rate, a short warm-up."""
    optimizer = config.optimizer
    warmup = min(optimizer.warmup_steps, start.steps // WARM_UP)
    return replace(
        config, steps=start.steps, optimizer=replace(optimizer, lr=optimizer.lr * start.lr, warmup_steps=warmup)
    )


def packed_weights(genotype: Genotype, part: NeckAndHead) -> bytes:
    """Weights of a trained candidate, as `start_from_weights` reads them."""
    state = {name: value.detach().cpu().contiguous() for name, value in part.state_dict().items()}
    return genotype.to_json(indent=None).encode() + b"\n" + save(state)


def start_from_weights(part: NeckAndHead, genotype: Genotype, weights: bytes) -> None:
    """Copy into a fresh candidate whatever of another's weights belongs to a matching cell, stem and head included.

    Args:
        genotype: of the candidate.

    Raises:
        TrialError: if the weights cannot be read.
    """
    line, _, body = weights.partition(b"\n")
    try:
        parent, theirs = Genotype.from_json(line.decode()), load(body)
    except (SafetensorError, GenotypeError, UnicodeDecodeError) as error:
        raise TrialError(f"the weights to start from cannot be read: {error}") from error
    inherit(part.state_dict(), genotype, theirs, parent)


def inherit(ours: Mapping[str, Tensor], child: Genotype, theirs: Mapping[str, Tensor], parent: Genotype) -> set[str]:
    """Copy tensors of a parent's state in place, and give the names of those of the child that were found.

    Cells are paired by `match_cells`, in every repeat; fusion weights and edges go with the inputs that correspond.
    A tensor of another shape, and any of a cell without a partner, stays as it is.
    """
    matches = {match.child: match for match in match_cells(child, parent)}
    found = set()
    with torch.no_grad():
        for name, tensor in ours.items():
            source = _source(name, matches, theirs)
            if source is not None and source.shape == tensor.shape:
                tensor.copy_(source)
                found.add(name)
    return found


def _source(name: str, matches: Mapping[int, CellMatch], theirs: Mapping[str, Tensor]) -> Tensor | None:
    """The parent's tensor for one of the child's, by its name."""
    if (place := _CELL.fullmatch(name)) is None:
        return theirs.get(name)
    if (match := matches.get(int(place["cell"]))) is None:
        return None
    tensor, prefix = place["tensor"], f"{place['pyramid']}{match.parent}."
    if tensor == FUSION_WEIGHTS:
        return _permuted(theirs.get(prefix + tensor), match)
    if (edge := _EDGE.fullmatch(tensor)) is not None:
        other = match.operands[int(edge["edge"])]
        return None if other is None else theirs.get(f"{prefix}edges.{other}.{edge['tensor']}")
    return theirs.get(prefix + tensor)


def _permuted(weights: Tensor | None, match: CellMatch) -> Tensor | None:
    """Fusion weights in the order of the child's inputs."""
    if weights is None:
        return None
    order = [at for at in match.operands[: len(weights)] if at is not None]
    return weights[order]
