"""Options of controllers: refused before a search starts, since they cannot be mended later."""

import pytest

from controllers import CONTROLLERS
from nas.commands.search import search
from nas.configuration import ConfigError
from nas.search.config import ControllerConfig, build_space
from nas.search.proposing import build_controller, option_names
from tests.support.toy_search import toy_config

BAD = [
    ("evolution", {"population_size": 8.5}, "population_size must be an integer"),
    ("evolution", {"population_size": 8.0}, "population_size must be an integer"),
    ("evolution", {"population_size": True}, "population_size must be an integer"),
    ("evolution", {"population_size": "8"}, "population_size must be an integer"),
    ("evolution", {"population_size": None}, "population_size must be an integer"),
    ("evolution", {"population_size": 10**9}, "population_size must be at most 100,000"),
    ("evolution", {"tournament_size": 2.5}, "tournament_size must be an integer"),
    ("evolution", {"tournament_size": 0}, "tournament_size must be from 1"),
    ("evolution", {"num_random": 2.5}, "num_random must be an integer"),
    ("evolution", {"num_random": -1}, "num_random must be 0 or more"),
    ("evolution", {"crossover": "often"}, "crossover must be a number from 0 to 1"),
    ("evolution", {"crossover": True}, "crossover must be a number from 0 to 1"),
    ("evolution", {"populaton_size": 8}, "no option 'populaton_size'; did you mean 'population_size'"),
    ("evolution", {"seed": 3}, "no option 'seed'"),
    ("random", {"population_size": 8}, "no option 'population_size'"),
    ("ppo", {"hidden": 12.5}, "hidden must be an integer"),
    ("ppo", {"hidden": 10**9}, "hidden must be at most 8,192"),
    ("ppo", {"batch_size": 4.0}, "batch_size must be an integer"),
    ("ppo", {"batch_size": 0}, "batch_size must be 1 or more"),
    ("ppo", {"epochs": True}, "epochs must be an integer"),
    ("ppo", {"max_lag": 0.5}, "max_lag must be an integer"),
    ("ppo", {"learning_rate": "fast"}, "learning_rate must be a number above 0"),
    ("ppo", {"learning_rate": 0}, "learning_rate must be a number above 0"),
    ("ppo", {"learning_rate": 1e300}, "learning_rate must be a number above 0"),
    ("ppo", {"clip": -1}, "clip must be a number above 0"),
    ("ppo", {"entropy": -0.1}, "entropy must be a number from 0"),
    ("ppo", {"baseline_decay": 1}, "baseline_decay must be a number from 0"),
    ("ppo", {"normalise": 1}, "normalise must be True or False"),
    ("tpe", {"window": 16.5}, "window must be an integer"),
    ("tpe", {"window": 4}, "window must be 8 or more"),
    ("tpe", {"num_random": 1.5}, "num_random must be an integer"),
    ("tpe", {"sampler": "nsga2"}, "no option 'sampler'"),
    ("nsga2", {"population_size": 4.5}, "population_size must be an integer"),
    ("nsga2", {"population_size": 1}, "population_size must be 2 or more"),
    ("nsga2", {"objectives": 1.0}, "objectives must be an integer"),
]
IDS = [f"{name} {options}" for name, options, _ in BAD]


@pytest.mark.parametrize(("name", "options", "message"), BAD, ids=IDS)
def test_an_option_that_cannot_be_is_refused_in_one_line(tmp_path, name, options, message):
    config = toy_config(tmp_path, controller=ControllerConfig(name=name, options=options))
    with pytest.raises(ConfigError, match=message) as caught:
        build_controller(config, build_space(config))
    assert str(caught.value).startswith(f"controller {name}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("option", ["learning_rate", "clip", "entropy", "baseline_decay"])
def test_odd_numbers_are_refused_by_the_controller_itself(tmp_path, option, value):
    space = build_space(toy_config(tmp_path))
    with pytest.raises(ValueError, match=f"{option} must be a number"):
        CONTROLLERS["ppo"](space, **{option: value})


@pytest.mark.parametrize(("name", "option"), [("tpe", "window"), ("nsga2", "population_size"), ("ppo", "hidden")])
def test_every_controller_says_its_options(name, option):
    names = option_names(CONTROLLERS[name])
    assert option in names
    assert not {"seed", "initial", "space", "sampler"} & set(names)


def test_a_refused_search_leaves_nothing(tmp_path, monkeypatch):
    config = toy_config(tmp_path, controller=ControllerConfig(name="evolution", options={"population_size": 8.5}))
    monkeypatch.setattr("nas.commands.search.load_search", lambda name: config)
    with pytest.raises(ConfigError, match="population_size"):
        search("mine.py:mine", str(tmp_path / "run"), [], None, None, resume=False)
    assert not (tmp_path / "run").exists()
