"""What an autoscaler is asked for."""

from __future__ import annotations

import pytest

from nas.search.resources import ResourceConfig
from nas.workers.demand import demanded


@pytest.fixture
def requests(monkeypatch) -> list[list[dict[str, float]]]:
    made: list[list[dict[str, float]]] = []
    monkeypatch.setattr("ray.autoscaler.sdk.request_resources", lambda bundles: made.append(bundles))
    return made


def test_room_for_all_workers_is_asked_for_and_given_back(requests):
    with demanded(ResourceConfig(workers=2, cpus=2, gpus=0.5)):
        assert requests == [[{"CPU": 2, "GPU": 0.5}] * 2]
    assert requests[1:] == [[]]


def test_it_is_given_back_after_errors_too(requests):
    with pytest.raises(KeyboardInterrupt), demanded(ResourceConfig(workers=1)):
        raise KeyboardInterrupt
    assert requests == [[{"CPU": 1}], []]


def test_without_a_number_of_workers_nothing_is_asked_for(requests):
    with demanded(ResourceConfig()):
        pass
    assert requests == []
