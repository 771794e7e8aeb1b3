"""Configurations: round trip, overrides, and errors that name the field and what is near."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from experiments import signs
from nas.configuration import ConfigError, differences, from_dict, override, to_dict
from nas.search.config import SearchConfig


@pytest.mark.parametrize("experiment", [signs.search, signs.smoke])
def test_round_trip_through_json(experiment):
    config = experiment()
    assert from_dict(SearchConfig, json.loads(json.dumps(to_dict(config)))) == config


def test_overrides_reach_any_depth_and_leave_the_original_alone():
    config = signs.search()
    changed = override(
        config, ["trials=3", "proxy.neck.channels=48", "controller.name=random", 'known=["fpn"]', "data.root=/tmp/a=b"]
    )
    assert (changed.trials, changed.proxy.neck.channels, changed.known) == (3, 48, ("fpn",))
    assert changed.data.root == "/tmp/a=b"
    assert override(config, ["known=[fpn, bifpn]"]).known == ("fpn", "bifpn")
    assert override(config, ["proxy.head.ratios=[1,2]"]).proxy.head.ratios == (1.0, 2.0)
    assert override(config, ["data.root=[a]"]).data.root == "[a]"
    assert config == signs.search()


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("trails=3", r"unknown field 'trails'; did you mean 'trials'\?"),
        ("proxy.stepz=3", r"unknown field 'proxy.stepz'; did you mean 'steps'\?"),
        ("proxi.steps=3", r"unknown field 'proxi'; did you mean 'proxy'\?"),
        ('proxy.neck={"chanels": 3}', r"unknown field 'proxy.neck.chanels'; did you mean 'channels'\?"),
        ("name.x=1", "has no fields to set"),
        ("proxy.steps=many", "proxy.steps: .* valid integer.* got 'many'"),
        ("proxy.steps=-1", "proxy.steps: .* greater than or equal to 0, got -1"),
        ("controller.name=evolutoin", "controller must be one of random, evolution"),
        ('known=["fpnn"]', "known necks are .*bifpn.*; got 'fpnn'"),
        ("known=[fpn,bifpm]", "known necks are .*bifpn.*; got 'bifpm'"),
        ("known=fpn", r"^known: must be a list, such as \[a,b\], got 'fpn'$"),
        ("reward=none", r"^reward: is a group of fields, to be set one by one \(reward.\w+, .*\), got 'none'$"),
        ("proxy.head=3", r"^proxy.head: is a group of fields, to be set one by one \(proxy.head.convs, .*\), got 3$"),
        ("controller.options=[]", r"^controller.options: must be fields and values in JSON, such as .*, got \[\]$"),
        ("trials", "write --set field=value"),
        ("data.reward=null", "reward is None and holdout is 0"),
    ],
)
def test_what_cannot_be_set_says_why(assignment, message):
    with pytest.raises(ConfigError, match=message):
        override(signs.search(), [assignment])


def test_differences_name_fields_by_path():
    config = signs.search()
    other = replace(config, trials=99, proxy=replace(config.proxy, steps=1))
    assert differences(to_dict(config), to_dict(other)) == ["proxy.steps: 400 -> 1", f"trials: {config.trials} -> 99"]
