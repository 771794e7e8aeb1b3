"""Numbers in configurations: every field of every configuration class takes numbers that are meant, and sane ones."""

import dataclasses
import importlib
import math
import time
import typing
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

import nas
from experiments import signs
from nas.configuration import ConfigError, from_dict, override, to_dict
from nas.search.config import SearchConfig
from nas.training.config import TrainConfig

NO_INTEGERS = (True, False, 1.0, 4.5, "1", math.nan, math.inf, None)
NO_FLOATS = (True, False, "0.5", "nan", math.nan, math.inf, -math.inf, None)


def config_classes():
    """Every class that a module of `nas` makes by pydantic."""
    root = Path(nas.__file__).parent
    for path in sorted(root.rglob("*.py")):
        if "pydantic.dataclasses" in path.read_text():
            module = importlib.import_module(".".join(("nas", *path.relative_to(root).with_suffix("").parts)))
            for value in vars(module).values():
                if hasattr(value, "__pydantic_fields__") and value.__module__ == module.__name__:
                    yield value


def numeric_fields():
    for cls in config_classes():
        for name, hint in typing.get_type_hints(cls, include_extras=True).items():
            kind = (
                float if "float" in str(hint) else int if "<class 'int'>" in str(hint) or "int" in str(hint) else None
            )
            if kind is not None:
                yield pytest.param(cls, name, hint, kind, id=f"{cls.__name__}.{name}")


def test_there_are_many_configuration_classes():
    assert len(list(config_classes())) >= 16


@pytest.mark.parametrize(("cls", "name", "hint", "kind"), list(numeric_fields()))
def test_a_number_is_a_number_that_is_meant(cls, name, hint, kind):
    optional = type(None) in typing.get_args(hint)
    validate = TypeAdapter(hint).validate_python
    for value in NO_FLOATS if kind is float else NO_INTEGERS:
        if value is None and optional:
            continue
        many = [(value,), (value, value)] if "tuple" in str(hint) else [value]
        for given in many:
            with pytest.raises(ValidationError):
                validate(given)
        with pytest.raises(ConfigError) as caught:
            from_dict(cls, {name: many[0]})
        assert f"{name}" in str(caught.value)
        assert "\n" not in str(caught.value)


ABSURD = [
    "proxy.neck.repeats=10000000",
    "proxy.neck.channels=1000000000",
    "proxy.neck.levels=[3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]",
    "proxy.image_size=1000000000",
    "proxy.batch_size=1000000000",
    "proxy.eval_batch_size=1000000000",
    "proxy.threads=1000000000",
    "proxy.steps=1" + "0" * 30,
    "proxy.head.octaves=1000000",
    "proxy.head.ratios=[0]",
    "proxy.head.ratios=[]",
    "proxy.head.max_detections=1000000000",
    "space.num_cells=1000000",
    "resources.cpus=0.00001",
    "resources.gpus=0.00001",
    "resources.cpus=1e300",
    "resources.workers=1000000000",
    "resources.wait_seconds=Infinity",
    "resources.wait_seconds=NaN",
    "resources.wait_seconds=1e300",
    "resources.trial_seconds=Infinity",
    "resources.checkpoint_seconds=NaN",
    "stopping.reduction_factor=NaN",
    "constraints.max_latency_ms=NaN",
    "trials=1000000000000",
    "random_trials=1000000000000",
    "seed=1" + "0" * 30,
    "data.embedded.train=1000000000",
    "data.embedded.image_size=1000000",
    'controller.options={"crossover": NaN}',
    'controller.options={"crossover": [{"a": Infinity}]}',
]
ABSURD_TRAININGS = [
    "neck.repeats=10000000",
    "neck.channels=1000000000",
    "image_size=1048576",
    "scale_jitter=[0.1,1e300]",
    "batch_size=1000000000",
    "epochs=1000000000",
    "resources.processes=1000000000",
    "resources.loaders=1000000000",
    "optimizer.milestones=[NaN]",
    "optimizer.lr=Infinity",
    'neck.options={"tums": NaN}',
    'neck.recipe={"norm_eps": Infinity}',
]


@pytest.mark.parametrize(
    ("config", "assignment"),
    [(signs.search, assignment) for assignment in ABSURD] + [(signs.train, each) for each in ABSURD_TRAININGS],
    ids=[*ABSURD, *ABSURD_TRAININGS],
)
def test_absurd_values_are_refused_at_once_in_one_line(config, assignment):
    start = time.process_time()
    with pytest.raises(ConfigError) as caught:
        override(config(), [assignment])
    assert time.process_time() - start < 1
    assert assignment.partition("=")[0].partition(".")[0] in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "assignment", ["resources.cpus=0.5", "resources.gpus=0.25", "proxy.optimizer.lr=1", "trials=8000"]
)
def test_usual_values_stay(assignment):
    config = override(signs.search(), [assignment])
    assert from_dict(SearchConfig, to_dict(config)) == config


def test_the_fields_are_those_of_searches_and_trainings():
    seen = set(config_classes())

    def walk(cls):
        assert cls in seen
        for field in dataclasses.fields(cls):
            for hint in (field.type, *typing.get_args(typing.get_type_hints(cls)[field.name])):
                if dataclasses.is_dataclass(hint):
                    walk(hint)

    walk(SearchConfig)
    walk(TrainConfig)
