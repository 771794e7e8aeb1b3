"""What an autoscaler is asked for."""

from __future__ import annotations

from typing import Any

import pytest

from nas.configuration import ConfigError
from nas.search.resources import ResourceConfig
from nas.workers import placement
from nas.workers.placement import Placement
from nas.workers.ray_session import Node, require_room

NODES = [Node(digit * 56, f"machine {digit}", 1) for digit in "ab"]


@pytest.fixture
def pending(monkeypatch) -> list[tuple[dict[str, float], dict[str, str] | None]]:
    """Bundle and labels of the groups that there are."""
    there: list[Any] = []

    def make(bundles: list[Any], bundle_label_selector: list[Any] | None) -> Any:
        there.append((bundles[0], bundle_label_selector and bundle_label_selector[0]))
        return there[-1]

    monkeypatch.setattr("nas.workers.demand.placement_group", make)
    monkeypatch.setattr("nas.workers.demand.remove_placement_group", there.remove)
    monkeypatch.setattr(placement, "REFRESH_SECONDS", 0)
    return there


def test_room_for_workers_that_find_none_is_asked_for_on_other_machines(pending):
    there = NODES[:1]
    places = Placement(ResourceConfig(workers=3, cpus=2, gpus=0.5), lambda: there)
    assert places.vacancies([], left=9) == NODES[:1]
    assert pending == [({"CPU": 2, "GPU": 0.5}, {"ray.io/node-id": f"!in({'a' * 56})"})] * 2
    there = NODES
    assert places.vacancies(NODES[:1], left=9) == NODES[1:]
    assert pending == [({"CPU": 2, "GPU": 0.5}, {"ray.io/node-id": f"!in({'a' * 56},{'b' * 56})"})]
    places.close()
    assert pending == []


def test_no_room_is_asked_for_workers_without_anything_to_do(pending):
    places = Placement(ResourceConfig(workers=5), lambda: NODES[:1])
    places.vacancies([], left=3)
    assert len(pending) == 2
    places.vacancies(NODES[:1], left=2)
    assert len(pending) == 1
    places.vacancies(NODES[:1], left=1)
    assert pending == []


def test_without_a_number_of_workers_nothing_is_asked_for(pending):
    places = Placement(ResourceConfig(), list)
    assert places.vacancies([], left=9) == []
    assert pending == []


def test_room_for_a_first_machine_is_asked_for_and_given_back(pending, monkeypatch):
    asked = []
    monkeypatch.setattr("nas.workers.ray_session.nodes", lambda resources: asked.append(list(pending)))
    monkeypatch.setattr("nas.workers.ray_session.shortage", lambda resources: "nothing is there")
    with pytest.raises(ConfigError, match="nothing is there"):
        require_room(ResourceConfig(workers=3), left=2, wait=0.01)
    assert asked[1] == [({"CPU": 1}, None)] * 2
    assert pending == []
