"""A controller as Tune's search algorithm: what it suggests, what it tells, what it remembers."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import replace

import pytest
from ray.tune.search import ConcurrencyLimiter, Searcher

from controllers import CONTROLLERS, Outcome
from nas.configuration import ConfigError
from nas.engine.scheduler import TrialScheduler
from nas.engine.trial import trial_seed
from nas.errors import UserError
from nas.runs.journal import Journal
from nas.search.config import ControllerConfig, SpaceConfig
from nas.search.constraints import ConstraintConfig
from nas.search.inheritance import InheritConfig
from nas.search.reward import RewardConfig
from nas.tune import NeckSearcher
from nas.tune.results import COMPLETE, REJECTED, TRAINING
from search_space import Genotype
from tests.support.stepping_task import stepping_config

OPTIONS = {
    "evolution": {"population_size": 3, "tournament_size": 2},
    "ppo": {"batch_size": 3, "hidden": 8},
    "tpe": {"num_random": 3},
    "nsga2": {"population_size": 3},
}
UNLIKELY_LIMIT = 2_000


@pytest.fixture
def config(tmp_path):
    return stepping_config(tmp_path, trials=8)


@pytest.fixture
def told(monkeypatch):
    """Outcomes that controllers observe, in order."""
    outcomes: list[Outcome] = []

    def watch(searcher):
        observe = searcher.controller.observe
        monkeypatch.setattr(
            searcher.controller, "observe", lambda batch: (outcomes.extend(batch), observe(batch)), raising=True
        )
        return outcomes

    return watch


def ap_of(suggested) -> float:
    return int(Genotype.from_dict(suggested["genotype"]).fingerprint, 16) % 10_000 / 100


def result(suggested, state=COMPLETE, **changes):
    """As a trial reports it, among numbers of Tune's own."""
    ap = ap_of(suggested)
    numbers = {"reward": ap, "AP": ap, "macs": 1000, "params": 10, "latency_ms": 1.0, "state": state}
    return {**numbers, "training_iteration": 1, "config/number": suggested["number"], **changes}


def run(searcher, count, first=0):
    """Trials one after another, each to its end."""
    suggestions = []
    for number in range(first, first + count):
        suggested = searcher.suggest(f"t{number}")
        searcher.on_trial_complete(f"t{number}", result=result(suggested))
        suggestions.append(suggested)
    return suggestions


def test_suggestions_are_plain_data_with_the_seeds_of_a_search(config):
    suggestions = run(NeckSearcher(config), 3)
    assert json.loads(json.dumps(suggestions)) == suggestions
    assert [each["number"] for each in suggestions] == [0, 1, 2]
    assert [each["seed"] for each in suggestions] == [trial_seed(config, number) for number in range(3)]
    assert len({Genotype.from_dict(each["genotype"]).fingerprint for each in suggestions}) == 3


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"constraints": ConstraintConfig(max_macs=870_000)},
        {"constraints": ConstraintConfig(max_macs=2_000_000), "candidate_width": "equal"},
    ],
    ids=["free", "limited", "wider"],
)
def test_trials_are_those_of_a_search_with_one_worker(tmp_path, changes):
    """Numbers, seeds, genotypes and widths, with known necks and a baseline before them."""
    config = stepping_config(tmp_path, trials=6, random_trials=3, known=("fpn", "pan"), **changes)
    config = replace(config, proxy=replace(config.proxy, image_size=64, neck=replace(config.proxy.neck, channels=16)))
    scheduler = TrialScheduler(config, Journal(tmp_path / "journal.log", writable=True), lambda trial: None)
    scheduler.prepare()
    expected = []
    while (following := scheduler.next()) is not None:
        number, candidate = following
        scheduler.complete(number, {"AP": 1.0, "macs": 1, "params": 1, "latency_ms": 1})
        if candidate.origin == "search":
            expected.append((number, candidate.genotype, candidate.channels))
    suggestions = run(NeckSearcher(config), 6)
    assert len(expected) == 6
    skipped = expected[-1][0] - expected[0][0] > 5
    assert skipped == (config.candidate_width == "same" and config.constraints.max_macs is not None)
    assert [
        (each["number"], Genotype.from_dict(each["genotype"]), each.get("channels")) for each in suggestions
    ] == expected


def test_ends_are_told_as_what_they_are(config, told):
    searcher = NeckSearcher(config)
    outcomes = told(searcher)
    suggested = {name: searcher.suggest(name) for name in ("whole", "cut", "error", "unheard", "nan", "mute")}
    searcher.on_trial_complete("whole", result=result(suggested["whole"]))
    searcher.on_trial_complete("cut", result=result(suggested["cut"], TRAINING))
    searcher.on_trial_result("error", result(suggested["error"], TRAINING))
    searcher.on_trial_complete("error", error=True)
    searcher.on_trial_complete("unheard")
    searcher.on_trial_complete("nan", result=result(suggested["nan"], reward=math.nan))
    searcher.on_trial_complete("mute", result={"done": True, "training_iteration": 1})
    assert [outcome.state for outcome in outcomes] == ["complete", "stopped", *["failed"] * 4]
    assert [outcome.reward for outcome in outcomes[:3]] == [ap_of(suggested["whole"]), ap_of(suggested["cut"]), None]
    assert not searcher.controller.pending


def test_a_trial_that_is_stopped_while_it_pauses_has_the_reward_of_its_last_rung(config, told):
    """As HyperBand ends those that lose: Tune then tells no result."""
    searcher = NeckSearcher(config)
    outcomes = told(searcher)
    suggested = searcher.suggest("paused")
    searcher.on_trial_result("paused", result(suggested, TRAINING, reward=1.0))
    searcher.on_trial_result("paused", result(suggested, TRAINING, reward=2.0))
    searcher.on_trial_complete("paused")
    assert [(outcome.state, outcome.reward) for outcome in outcomes] == [("stopped", 2.0)]


def test_a_result_without_a_state_is_a_whole_training(config, told):
    """Of a trainable of one's own."""
    searcher = NeckSearcher(config, metric="loss", mode="min")
    outcomes = told(searcher)
    searcher.suggest("own")
    searcher.on_trial_complete("own", result={"loss": 0.25, "AP": 1.0})
    assert [(outcome.state, outcome.reward) for outcome in outcomes] == [("complete", -0.25)]


def test_two_objectives_are_told_to_controllers_that_take_them(tmp_path, told):
    controller = ControllerConfig(name="nsga2", options=OPTIONS["nsga2"])
    searcher = NeckSearcher(
        stepping_config(tmp_path, controller=controller, reward=RewardConfig(objective="pareto", cost="macs"))
    )
    outcomes = told(searcher)
    suggested = searcher.suggest("two")
    searcher.on_trial_complete("two", result=result(suggested))
    assert outcomes[0].objectives == (ap_of(suggested), -1000)


def test_what_is_told_twice_or_of_strangers_is_ignored(config, told):
    searcher = NeckSearcher(config)
    outcomes = told(searcher)
    suggested = searcher.suggest("once")
    for _ in range(2):
        searcher.on_trial_complete("once", result=result(suggested))
    searcher.on_trial_complete("stranger", result=result(suggested))
    searcher.on_trial_result("stranger", result(suggested))
    assert len(outcomes) == 1


@pytest.mark.parametrize("name", CONTROLLERS)
@pytest.mark.parametrize("way", ["file", "pickle"])
def test_state_holds_pending_trials_and_the_future(tmp_path, name, way):
    config = stepping_config(tmp_path, controller=ControllerConfig(name=name, options=OPTIONS.get(name, {})))
    searcher = NeckSearcher(config)
    run(searcher, 7)
    pending = {trial_id: searcher.suggest(trial_id) for trial_id in ("a", "b")}
    searcher.on_trial_result("b", result(pending["b"], TRAINING, AP50=math.nan))
    json.dumps(searcher.get_state(), allow_nan=False)
    if way == "file":
        searcher.save(str(tmp_path / "state.json"))
        again = NeckSearcher(config)
        again.restore(str(tmp_path / "state.json"))
    else:
        again = pickle.loads(pickle.dumps(searcher))
    for each in (searcher, again):
        each.on_trial_complete("a", result=result(pending["a"]))
        each.on_trial_complete("b")
    assert run(again, 4, first=10) == run(searcher, 4, first=10)
    assert again.get_state() == searcher.get_state()


def test_tune_saves_and_finds_the_state_in_its_directory(config, tmp_path):
    searcher = ConcurrencyLimiter(NeckSearcher(config), 2)
    searcher.suggest("a")
    searcher.searcher.save_to_dir(str(tmp_path), "session")
    again = NeckSearcher(config)
    again.restore_from_dir(str(tmp_path))
    assert again.get_state() == searcher.searcher.get_state()


def test_the_concurrency_limiter_limits(config):
    limiter = ConcurrencyLimiter(NeckSearcher(config), max_concurrent=2)
    suggested = limiter.suggest("a")
    assert limiter.suggest("b")
    assert limiter.suggest("c") is None
    limiter.on_trial_complete("a", result=result(suggested))
    assert limiter.suggest("c")["number"] == 2


def test_a_neck_over_a_limit_of_size_becomes_no_trial(config, told, caplog):
    limited = replace(config, constraints=ConstraintConfig(max_params=UNLIKELY_LIMIT, max_rejections_in_a_row=5))
    searcher = NeckSearcher(limited)
    outcomes = told(searcher)
    assert searcher.suggest("none") == Searcher.FINISHED
    assert [outcome.state for outcome in outcomes] == ["failed"] * 5
    assert "constraints.max_params" in caplog.text
    assert searcher.suggest("still none") == Searcher.FINISHED


def test_a_neck_that_a_worker_rejects_is_a_failed_trial(config, told, caplog):
    limited = replace(config, constraints=ConstraintConfig(max_latency_ms=5, max_rejections_in_a_row=2))
    searcher = NeckSearcher(limited)
    outcomes = told(searcher)
    for trial_id in ("a", "b"):
        slow = result(searcher.suggest(trial_id), REJECTED, reward=math.nan, AP=math.nan, latency_ms=7.0)
        searcher.on_trial_complete(trial_id, result=slow)
    assert [(outcome.state, outcome.reward) for outcome in outcomes] == [("failed", None)] * 2
    assert searcher.suggest("c") == Searcher.FINISHED
    assert "max_latency_ms" in caplog.text


def test_the_same_function_shares_its_result(tmp_path, monkeypatch):
    """In a small space, of a controller that does not mind proposing a neck again."""
    monkeypatch.setattr("controllers.base.MAX_TRIES", 1)
    space = SpaceConfig(name="pyramid", min_cells=3, max_cells=3, max_inputs=1, merges=("sum",), transforms=("none",))
    config = stepping_config(tmp_path, space=space)
    levels = replace(config.proxy.neck, levels=(3, 4, 5))
    searcher = NeckSearcher(replace(config, proxy=replace(config.proxy, neck=levels)))
    first: dict[str, float] = {}
    copies = 0
    for number in range(60):
        suggested = searcher.suggest(f"t{number}")
        function = Genotype.from_dict(suggested["genotype"]).fingerprint
        if function in first:
            copies += 1
            assert suggested["copied"]["reward"] == first[function]
        else:
            assert "copied" not in suggested
        first.setdefault(function, float(number))
        searcher.on_trial_complete(f"t{number}", result=result(suggested, reward=first[function]))
    assert copies


@pytest.mark.parametrize(
    ("arguments", "changes", "message"),
    [
        ({"mode": "most"}, {}, "mode must be max or min, got 'most'"),
        ({}, {"inherit": InheritConfig(steps=2), "stopping": {"rungs": ()}}, "set inherit.steps=0"),
        ({}, {"controller": ControllerConfig(options={"populaton_size": 2})}, "populaton_size"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, arguments, changes, message):
    with pytest.raises(ConfigError, match=message):
        NeckSearcher(stepping_config(tmp_path, **changes), **arguments)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": 1', "cannot be taken over"),
        ("{}", "the state has format = None"),
        (None, "No such file"),
    ],
)
def test_a_damaged_state_is_one_line(config, tmp_path, text, message):
    if text is not None:
        (tmp_path / "state").write_text(text)
    with pytest.raises(UserError, match=message):
        NeckSearcher(config).restore(str(tmp_path / "state"))


def test_the_state_of_another_search_is_refused(config, tmp_path):
    NeckSearcher(config).save(str(tmp_path / "state"))
    with pytest.raises(UserError, match="the state has seed = 0, this controller has 1"):
        NeckSearcher(replace(config, seed=1)).restore(str(tmp_path / "state"))
    with pytest.raises(UserError, match="the state has metric = 'reward', this searcher has 'AP50'"):
        NeckSearcher(config, metric="AP50").restore(str(tmp_path / "state"))
