"""Children that start from their parent's weights."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.detection.learning import NeckAndHead
from nas.proxy.inherit import inherit, short_config, start_from_weights
from nas.proxy.task import ProxyTask
from nas.proxy.trial import Start, TrialError
from necks import MergeNeck, Recipe
from search_space import Genotype, MergeCell, NasFpnSpace, PyramidSpace, known
from tests.support.recorded import STEPS, TINY, Cut, Recorded, assert_same

CHANNELS, LEVELS = (4, 6, 8), (3, 4, 5)
SPACES = (PyramidSpace(max_cells=12), NasFpnSpace(7))


def neck(genotype: Genotype, seed: int, recipe: Recipe | None = None, repeats: int = 2) -> MergeNeck:
    """With weights that are all different, statistics of norms included."""
    torch.manual_seed(seed)
    made = MergeNeck(genotype, CHANNELS, LEVELS, 4, repeats, recipe)
    for tensor in made.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) + 0.1)
    return made.eval()


def outputs(made: MergeNeck) -> list[torch.Tensor]:
    torch.manual_seed(0)
    maps = {
        f"p{level}": torch.rand(1, width, 64 >> level, 64 >> level)
        for level, width in zip(LEVELS, CHANNELS, strict=True)
    }
    with torch.no_grad():
        return list(made(maps).values())


def take(child: MergeNeck, parent: MergeNeck) -> set[str]:
    return inherit(child.state_dict(), child.genotype, parent.state_dict(), parent.genotype)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(SPACES))
def test_an_unchanged_child_computes_what_its_parent_does(seed, space):
    genotype = space.sample(random.Random(seed))
    parent, child = neck(genotype, 1), neck(genotype, 2)
    assert take(child, parent) == set(child.state_dict())
    assert all(torch.equal(one, other) for one, other in zip(outputs(child), outputs(parent), strict=True))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(SPACES))
def test_a_mutant_has_of_every_cell_its_own_fresh_weights_or_all_of_one_of_the_parents(seed, space):
    rng = random.Random(seed)
    genotype = space.sample(rng)
    parent, child = neck(genotype, 1), neck(space.mutate(genotype, rng), 2)
    before = {name: value.clone() for name, value in child.state_dict().items()}
    found = take(child, parent)
    assert {name for name in before if name.startswith("stem.")} <= found
    state = child.state_dict()
    assert all(torch.equal(state[name], before[name]) for name in state.keys() - found)
    assert all(not torch.equal(state[name], before[name]) for name in found if state[name].is_floating_point())


def test_a_child_with_one_more_cell_keeps_the_weights_of_all_others():
    parent = neck(Genotype((3, 4, 5), (MergeCell(4, (1, 2)), MergeCell(5, (2, 3)))), 1)
    child = neck(Genotype((3, 4, 5), (MergeCell(4, (1, 2)), MergeCell(3, (0, 3)), MergeCell(5, (2, 3)))), 2)
    found = take(child, parent)
    assert {name for name in child.state_dict() if ".cells.1." not in name} == found
    for ours, theirs in ((0, 0), (2, 1)):
        pair = [made.pyramids[1].cells[at].state_dict() for made, at in ((child, ours), (parent, theirs))]
        assert pair[0].keys() == pair[1].keys()
        assert all(torch.equal(pair[0][name], pair[1][name]) for name in pair[0])


def test_fusion_weights_and_edges_go_with_their_inputs():
    """Edges have weights where the laterals are on them."""
    recipe = Recipe(laterals="edges")
    cells = (MergeCell(3, (0, 1, 2), "softmax"), MergeCell(4, (1, 2)), MergeCell(5, (1, 2)))
    parent = neck(Genotype((3, 4, 5), cells), 1, recipe, 1)
    child = neck(Genotype((3, 4, 5), (replace(cells[0], inputs=(2, 0, 1)), *cells[1:])), 2, recipe, 1)
    take(child, parent)
    assert all(torch.allclose(one, other) for one, other in zip(outputs(child), outputs(parent), strict=True))


def test_equal_maps_whatever_the_order_of_independent_cells():
    """Bit for bit but for the order of a sum's terms."""
    cells = (MergeCell(4, (1, 2)), MergeCell(3, (0, 1)), MergeCell(5, (2, 1)))
    parent = neck(Genotype((3, 4, 5), cells), 1)
    child = neck(Genotype((3, 4, 5), (cells[2], cells[0], replace(cells[1], inputs=(1, 0)))), 2)
    take(child, parent)
    assert all(torch.allclose(one, other) for one, other in zip(outputs(child), outputs(parent), strict=True))


def test_the_short_training_has_a_share_of_the_rate_and_a_short_warm_up():
    short = short_config(replace(TINY, steps=400), Start(b"", 100, 0.5))
    assert (short.steps, short.optimizer.lr, short.optimizer.warmup_steps) == (100, TINY.optimizer.lr / 2, 10)
    assert short_config(TINY, Start(b"", 4)).optimizer.warmup_steps == 0


class Keeping(Recorded):
    keeps_weights = True


@pytest.fixture(scope="module")
def trained(task: ProxyTask):
    return task.run(known.fpn(), 0, Keeping())


def from_parent(trained, steps: int = 3, **options) -> Recorded:
    callbacks = Keeping(**options)
    callbacks.start = Start(trained.weights, steps, 0.5)
    return callbacks


def test_an_unchanged_child_without_steps_scores_and_is_what_its_parent_was(task, trained):
    child = task.run(known.fpn(), 5, from_parent(trained, steps=0))
    assert child.inherited
    assert not trained.inherited
    assert child.metrics["AP"] == trained.metrics["AP"]
    assert child.weights == trained.weights


def test_a_child_trains_its_own_few_steps_from_there(task, trained):
    child = task.run(known.bifpn(), 5, from_parent(trained))
    assert (child.metrics["steps"], trained.metrics["steps"]) == (3, STEPS)
    assert_same(child, task.run(known.bifpn(), 5, from_parent(trained)))
    fresh = task.run(known.bifpn(), 5)
    assert fresh.weights is None
    assert child.metrics["loss"] != fresh.metrics["loss"]


def test_a_child_goes_on_from_its_checkpoint_and_nobody_elses_does(task, trained):
    cut = from_parent(trained, every=0, cut=2)
    with pytest.raises(Cut):
        task.run(known.bifpn(), 5, cut)
    stored = cut.saved[-1]
    continued = task.run(known.bifpn(), 5, from_parent(trained, stored=stored))
    assert continued.metrics["resumed_at"] == 2
    assert_same(continued, task.run(known.bifpn(), 5, from_parent(trained)))
    assert "resumed_at" not in task.run(known.bifpn(), 5, Recorded(stored=stored)).metrics
    other = replace(trained, weights=task.run(known.fpn(), 1, Keeping()).weights)
    assert "resumed_at" not in task.run(known.bifpn(), 5, from_parent(other, stored=stored)).metrics


def test_weights_that_cannot_be_read_are_the_trials_error():
    part = NeckAndHead(neck(known.fpn(LEVELS), 0), torch.nn.Identity())
    for damaged in (b"", b"{}\nxx", known.fpn().to_json(indent=None).encode() + b"\nxx"):
        with pytest.raises(TrialError, match="the weights to start from cannot be read"):
            start_from_weights(part, known.fpn(LEVELS), damaged)
