import json
import logging
import random

import optuna
import pytest

from controllers import Nsga2Controller, OptunaController, Outcome, RandomController, TpeController
from controllers.optuna_controller import nearest_allowed
from controllers.optuna_history import History, Record, generators, keep_best_and_latest
from controllers.testing import SPACE, TINY, Journal
from search_space import Decision, PyramidSpace, known, nas_fpn_space


def share_of_sums(genotype):
    return sum(cell.merge == "sum" for cell in genotype.cells) / len(genotype.cells)


def two_objectives(proposal):
    """At odds: many sums, and many attentions on coarse levels."""
    cells = proposal.genotype.cells
    first = float(sum(cell.merge == "sum" for cell in cells))
    second = float(sum(cell.level * (cell.merge == "attention") for cell in cells))
    return Outcome(proposal, first, objectives=(first, second))


def drive(controller, trials, tell):
    outcomes = []
    for _ in range(trials):
        [proposal] = controller.propose(1)
        outcomes.append(tell(proposal))
        controller.observe(outcomes[-1:])
    return outcomes


@pytest.mark.parametrize(("wish", "nearest"), [(0, 1), (1, 1), (2, 1), (3, 4), (5, 4)])
def test_a_choice_that_is_not_allowed_becomes_the_nearest_of_two_the_earlier(wish, nearest):
    assert nearest_allowed(Decision("x", tuple(range(6)), (1, 4)), wish) == nearest


def test_of_equally_near_choices_the_earlier_is_taken():
    assert nearest_allowed(Decision("x", ("a", "b", "c"), ("a", "c")), "b") == "a"


def test_the_best_and_the_latest_are_kept_in_order():
    records = [Record({}, value, (value,)) for value in (5.0, 1.0, 9.0, 2.0, 3.0, 3.0)]
    assert [record.reward for record in keep_best_and_latest(records, 2)] == [5.0, 9.0, 3.0, 3.0]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize(
    "kind", [optuna.samplers.TPESampler, optuna.samplers.NSGAIIISampler, optuna.samplers.RandomSampler]
)
def test_any_sampler_by_object_recovers(kind):
    sampler = kind(population_size=6) if kind is optuna.samplers.NSGAIIISampler else kind()

    def make():
        return OptunaController(SPACE, seed=3, sampler=sampler, num_random=4, window=20)

    live = Journal(make()).run(45)
    state = json.loads(json.dumps(live.controller.state_dict()))
    loaded, replayed = make(), make()
    loaded.load_state_dict(state)
    replayed.replay(live.proposals, live.outcomes)
    assert loaded.state_dict() == replayed.state_dict() == live.controller.state_dict()
    future = live.controller.propose(5)
    assert loaded.propose(5) == future
    assert replayed.propose(5) == future


def test_a_sampler_object_is_not_touched():
    sampler = optuna.samplers.TPESampler(seed=1)
    before = generators(sampler)[0].get_state()[1].tolist()
    Journal(OptunaController(SPACE, sampler=sampler)).run(20)
    assert generators(sampler)[0].get_state()[1].tolist() == before


def test_a_sampler_that_cannot_be_seeded_is_refused():
    class Fixed(optuna.samplers.BaseSampler):
        def infer_relative_search_space(self, study, trial):
            return {}

        def sample_relative(self, study, trial, search_space):
            return {}

        def sample_independent(self, study, trial, param_name, param_distribution):
            return param_distribution.choices[0]

    with pytest.raises(ValueError, match="the sampler Fixed has no random generator that can be seeded"):
        OptunaController(SPACE, sampler=Fixed())


def test_the_history_stays_small():
    tpe, nsga2 = TpeController(SPACE, window=20), Nsga2Controller(SPACE, population_size=6)
    for controller, bound in ((tpe, 20), (nsga2, 12)):
        for _ in range(60):
            Journal(controller).run(1)
            assert len(controller.state_dict()["algorithm"]["records"]) < bound


def test_a_full_generation_leaves_the_parents_of_the_next():
    controller = Nsga2Controller(SPACE, population_size=6)
    drive(controller, 12, lambda proposal: Outcome(proposal, proposal.id % 7))
    kept = controller.state_dict()["algorithm"]["records"]
    assert sorted(record["reward"] for record in kept) == [3, 3, 4, 4, 5, 6]


def test_several_objectives_need_as_many_numbers_and_nothing_is_learned_without():
    controller = Nsga2Controller(SPACE, objectives=2)
    first, second = controller.propose(2)
    before = controller.state_dict()
    for wrong in (None, (1.0,), (1.0, 2.0, 3.0)):
        with pytest.raises(ValueError, match="outcome of proposal 1: this controller maximises 2 objectives, got"):
            controller.observe([two_objectives(first), Outcome(second, 1.0, objectives=wrong)])
        assert controller.state_dict() == before
    controller.observe([Outcome(first, None, "failed")])


@pytest.mark.parametrize("make", [TpeController, Nsga2Controller])
def test_several_objectives_spread_along_the_front(make):
    space = nas_fpn_space()
    found = drive(make(space, objectives=2, seed=1), 120, two_objectives)
    chance = drive(RandomController(space, seed=1), 120, two_objectives)

    def dominated(ours, theirs):
        return sum(
            any(all(a >= b for a, b in zip(x.objectives, y.objectives, strict=True)) for x in ours) for y in theirs
        )

    assert dominated(found, chance) >= 0.9 * len(chance)


def test_one_objective_reads_the_reward():
    controller = TpeController(SPACE)
    drive(controller, 3, two_objectives)
    assert all(len(record["values"]) == 1 for record in controller.state_dict()["algorithm"]["records"])


@pytest.mark.parametrize("make", [TpeController, Nsga2Controller])
def test_it_beats_random_search(make):
    """Best share of the published cell's decisions after 120 trials, summed over 3 seeds."""
    space = nas_fpn_space()
    target = space.encode(known.nas_fpn())

    def best(controller):
        def tell(proposal):
            return Outcome(proposal, sum(proposal.choices[name] == choice for name, choice in target.items()))

        return max(outcome.reward for outcome in drive(controller, 120, tell))

    ours, theirs = (sum(best(kind(space, seed=seed)) for seed in range(3)) for kind in (make, RandomController))
    assert ours >= theirs + 3


def test_failed_trials_are_not_told_and_stopped_ones_are_complete():
    history = OptunaController(SPACE)
    first, second = history.propose(2)
    history.observe([Outcome(first, None, "failed"), Outcome(second, 0.5, "stopped")])
    assert [record["reward"] for record in history.state_dict()["algorithm"]["records"]] == [0.5]


def test_optuna_stays_quiet_and_its_verbosity_as_it_was(caplog, capfd):
    optuna.logging.set_verbosity(optuna.logging.INFO)
    optuna.logging.enable_propagation()
    try:
        with caplog.at_level(logging.DEBUG):
            Journal(TpeController(SPACE, window=10)).run(20)
        assert optuna.logging.get_verbosity() == optuna.logging.INFO
    finally:
        optuna.logging.disable_propagation()
    assert caplog.records == []
    assert capfd.readouterr().err == ""


def test_asking_twice_with_one_seed_suggests_the_same():
    rng = random.Random(0)
    history = History(TINY, optuna.samplers.TPESampler(n_startup_trials=1), 1, 50, 0)
    for value in range(12):
        history.tell(Record(TINY.encode(TINY.sample(rng)), value, (value,)))
        assert len({history.ask(5)("cell0.level") for _ in range(3)}) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sampler": "annealing"}, "sampler must be 'tpe', 'nsga2' or an Optuna sampler, got 'annealing'"),
        ({"objectives": 0}, "objectives must be 1 or more"),
        ({"num_random": -1}, "num_random must be 0 or more"),
        ({"window": 7}, "window must be 8 or more"),
    ],
)
def test_impossible_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        OptunaController(SPACE, **arguments)


def test_decisions_that_some_genotypes_lack_are_sampled_together_with_the_others(monkeypatch):
    def alone(*arguments):
        raise AssertionError("sampled on its own")

    monkeypatch.setattr(optuna.samplers.TPESampler, "sample_independent", alone)
    controller = TpeController(PyramidSpace((3, 4, 5), max_cells=6))
    drive(controller, 40, lambda proposal: Outcome(proposal, len(proposal.genotype.cells)))
    assert len(controller.propose(1)[0].genotype.cells) in range(3, 7)


def test_more_of_a_conditional_choice_is_learned():
    """Fourth cells exist in some genotypes only; the more of them take one input, the better."""
    space = PyramidSpace((3, 4, 5), max_cells=4, max_inputs=2)

    def share(controller):
        outcomes = drive(controller, 150, lambda p: Outcome(p, float(p.choices.get("cell3.num_inputs") == 1)))
        return sum(outcome.reward for outcome in outcomes[-50:])

    assert share(TpeController(space)) > 2 * share(RandomController(space))
