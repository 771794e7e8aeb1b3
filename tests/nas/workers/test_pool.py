"""Machines that join, leave, or cannot be used; real actors on one machine that stands for several."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray

from nas.configuration import ConfigError
from nas.data.config import DataError
from nas.engine.callbacks import SearchCallbacks
from nas.engine.run import drive
from nas.engine.scheduler import TrialScheduler
from nas.engine.trial import Answer, Scored, TrialRequest
from nas.engine.trial_server import TrialServer
from nas.engine.worker import TrialWorker
from nas.runs.journal import Journal
from nas.runs.kept_weights import KeptWeights
from nas.runs.run_directory import RunDirectory, RunDirectoryError
from nas.search.config import ResourceConfig, SearchConfig
from nas.search.records import Candidate, Trial
from nas.search.stopping import StoppingConfig
from nas.workers import placement
from nas.workers.answers import Failed
from nas.workers.placement import WorkersError
from nas.workers.pool import Pool
from nas.workers.ray_session import Node, connected, require_room
from search_space import known
from tests.support.toy_search import HOLD, make_toy, toy_config

pytestmark = pytest.mark.usefixtures("shared_ray")

REQUEST = TrialRequest(number=3, candidate=Candidate(origin="search", genotype=known.fpn(), proposal=0), seed=0)
NODES = [Node(digit * 56, f"machine {digit}", 1) for digit in "abc"]


def no_data(config: SearchConfig) -> Any:
    raise DataError("there is no /data/coco on this machine; make the path visible on every node or set data.archive")


def is_on(options: dict[str, Any], node: Node) -> bool:
    return bool(options["scheduling_strategy"].node_id == node.id)


def make_workers(config: SearchConfig, task_of: Callable[[dict[str, Any]], Any] = lambda options: make_toy):
    actor = ray.remote(TrialWorker).options(num_cpus=0)
    return lambda options: actor.remote(config, task_of(options), None)


class Makers:
    """Makes workers, and ends all that it has made as a machine does that goes away."""

    def __init__(self, config: SearchConfig) -> None:
        self._make = make_workers(config)
        self._made: list[Any] = []

    def __call__(self, options: dict[str, Any]) -> Any:
        self._made.append(self._make(options))
        return self._made[-1]

    def kill_all(self) -> None:
        for actor in self._made:
            ray.kill(actor)


def search(config: SearchConfig, path: Path, pool: Pool, tell: Callable[[], None] = lambda: None) -> list[Trial]:
    journal = Journal(path / "journal.log", writable=True)
    try:
        drive(TrialScheduler(config, journal, lambda trial: None), pool, RunDirectory(path), tell)
    finally:
        pool.close()
    return journal.trials()


def held_until(orders: Path, condition: Callable[[], bool]) -> Callable[[], None]:
    """What to tell a search whose trials are to end once the condition holds."""
    (orders / HOLD).touch()

    def tell() -> None:
        if condition():
            (orders / HOLD).unlink(missing_ok=True)

    return tell


def test_a_machine_without_the_data_is_left_out_and_the_search_goes_on(tmp_path, caplog):
    config = toy_config(tmp_path, trials=4)
    make = make_workers(config, lambda options: no_data if is_on(options, NODES[0]) else make_toy)
    pool = Pool(make, ResourceConfig(), lambda: NODES[:2])
    said = "nothing runs on machine a: DataError: there is no /data/coco on this machine"
    with caplog.at_level(logging.WARNING):
        trials = search(config, tmp_path, pool, held_until(tmp_path, lambda: said in caplog.text))
    assert all(trial.state == "complete" for trial in trials)
    assert pool.most == 1


def test_where_no_machine_has_the_data_the_search_ends_with_the_reason(tmp_path):
    config = toy_config(tmp_path)
    pool = Pool(make_workers(config, lambda options: no_data), ResourceConfig(), lambda: NODES[:2])
    with pytest.raises(WorkersError, match="on any of 2 machines: DataError: there is no /data/coco"):
        search(config, tmp_path, pool)


def test_machines_that_join_are_used(tmp_path, monkeypatch):
    monkeypatch.setattr(placement, "REFRESH_SECONDS", 0.1)
    config = toy_config(tmp_path)
    there = NODES[:1]
    pool = Pool(make_workers(config), ResourceConfig(), lambda: there)
    all_used = held_until(tmp_path, lambda: pool.most == 3)

    def join() -> None:
        there[:] = NODES
        all_used()

    trials = search(config, tmp_path, pool, join)
    assert all(trial.state == "complete" for trial in trials)
    assert pool.most == 3


def test_no_more_workers_than_were_asked_for(tmp_path):
    config = toy_config(tmp_path, trials=3, random_trials=0, known=())
    pool = Pool(make_workers(config), ResourceConfig(workers=2), lambda: NODES)
    both_used = held_until(tmp_path, lambda: pool.most == 2)
    sizes = set()

    def watch() -> None:
        sizes.add(pool.size)
        both_used()

    search(config, tmp_path, pool, watch)
    assert (pool.most, max(sizes)) == (2, 2)


def test_when_all_machines_leave_for_too_long_the_search_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(placement, "REFRESH_SECONDS", 0.1)
    config = toy_config(tmp_path, trials=30)
    there, workers = NODES[:1], Makers(config)
    pool = Pool(workers, ResourceConfig(wait_seconds=0.5), lambda: there)

    def leave() -> None:
        if there and pool.busy_seconds:
            there.clear()
            workers.kill_all()

    with pytest.raises(WorkersError, match=r"no machine with room for a trial was there for 0.5 s"):
        search(config, tmp_path, pool, leave)
    assert any(trial.state == "complete" for trial in Journal(tmp_path / "journal.log").trials())


def test_a_cluster_without_room_is_waited_for_and_then_refused(caplog):
    with caplog.at_level(logging.WARNING), pytest.raises(ConfigError, match=r"resources\.wait_seconds"):
        require_room(ResourceConfig(gpus=64), left=1, wait=0.3)
    assert "waiting up to 0.3 s for more" in caplog.text


def test_ray_client_addresses_are_sent_to_submit(monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(ConfigError, match="nasfpn submit"), connected(ResourceConfig(), "ray://head:10001"):
        pass


def test_a_full_disk_under_the_weights_is_one_line(tmp_path):
    """`/dev/full` takes no byte."""
    run = RunDirectory(tmp_path)
    weights = KeptWeights(run, 2, [])
    run.trial(3).mkdir(parents=True)
    (run.trial(3) / "neck.safetensors").symlink_to("/dev/full")
    with pytest.raises(RunDirectoryError, match=r"No space left on device.*run the same command again"):
        weights.add(3, {"neck.safetensors": b"weights"}, reward=1.0, keep=False)


def test_the_best_keep_their_weights_and_what_they_displace_is_deleted(tmp_path):
    run = RunDirectory(tmp_path)
    weights = KeptWeights(run, 2, [])
    rewards = [3.0, 1.0, 2.0, 0.5, 2.0, 9.0]
    for number, reward in enumerate(rewards):
        weights.add(number, {"w": b"x"}, reward=reward, keep=number == 1)
    assert kept_in(run) == ["0000", "0001", "0002", "0005"], "what is displaced stays until that is recorded"
    weights.clear()
    assert kept_in(run) == ["0000", "0001", "0005"]


def kept_in(run: RunDirectory) -> list[str]:
    return sorted(path.name for path in run.trials.iterdir())


def test_weights_that_a_killed_driver_left_are_deleted(tmp_path):
    run = RunDirectory(tmp_path)
    journal = Journal(tmp_path / "journal.log", writable=True)
    for number, (origin, reward) in enumerate((("known:fpn", 1.0), ("search", 2.0), ("search", 3.0), ("search", None))):
        genotype = known.fpn() if origin == "known:fpn" else known.bifpn()
        journal.add(Candidate(origin=origin, genotype=genotype, proposal=number), space_choices={})
        run.trial(number).mkdir(parents=True)
        if reward is not None:
            journal.finish(number, "complete", reward, {"AP": reward})
    weights = KeptWeights(run, 1, journal.trials())
    assert kept_in(run) == ["0000", "0002"]
    weights.add(3, {"w": b"x"}, reward=2.5, keep=False)
    weights.clear()
    assert kept_in(run) == ["0000", "0002"]


class Fake:
    """A pool that has a round's replies ready, and then none."""

    running = 0

    def __init__(self, answer: Callable[[TrialRequest], Answer], together: int) -> None:
        self._answer, self._together, self._requests = answer, together, []

    def assign(self, requests: Callable[[], TrialRequest | None]) -> bool:
        while len(self._requests) < self._together:
            if (request := requests()) is None:
                return False
            self._requests.append(request)
        return True

    def replies(self, left: int) -> list[tuple[TrialRequest, Answer]]:
        found, self._requests = [(request, self._answer(request)) for request in self._requests], []
        return found


def test_what_ends_the_search_loses_none_of_the_other_outcomes(tmp_path):
    """The first of four outcomes cannot be written: the disk has no room for its weights."""
    config = toy_config(tmp_path, trials=10)
    run = RunDirectory(tmp_path)
    journal = Journal(run.journal_file, writable=True)
    told: list[int] = []
    scheduler = TrialScheduler(config, journal, lambda trial: told.append(trial.number))

    def answer(request: TrialRequest) -> Answer:
        if request.number == 0:
            run.trial(0).mkdir(parents=True)
            (run.trial(0) / "w").symlink_to("/dev/full")
        return Scored(metrics={"AP": 1.0}, neck={"w": b"x"})

    with pytest.raises(RunDirectoryError, match="No space left"):
        drive(scheduler, Fake(answer, together=4), run, lambda: None)
    assert told == [1, 2, 3]
    assert [trial.state for trial in Journal(run.journal_file).trials()] == ["running"] + ["complete"] * 3


def test_a_search_ends_without_a_worker_when_nothing_is_left(tmp_path):
    """The last trial takes its worker with it; none need be started to find that all is done."""
    config = toy_config(tmp_path, trials=1, known=(), random_trials=0)

    class Alone(Fake):
        def assign(self, requests: Callable[[], TrialRequest | None]) -> bool:
            if self.gone:
                return True
            self.gone = True
            return super().assign(requests)

        gone = False

    journal = Journal(tmp_path / "journal.log", writable=True)
    scheduler = TrialScheduler(config, journal, lambda trial: None)
    drive(scheduler, Alone(lambda request: Failed("too slow"), together=1), RunDirectory(tmp_path), lambda: None)
    assert scheduler.left == 0


def ready(pool: Pool, count: int) -> None:
    while pool.idle < count:
        pool.replies(count)


def test_idle_workers_of_a_machine_that_lost_one_are_not_given_its_trial(tmp_path):
    """Three of four idle workers on one machine are dead already when the fourth is lost."""
    config = toy_config(tmp_path, milliseconds=500)
    workers = Makers(config)
    pool = Pool(workers, ResourceConfig(max_retries=1), lambda: [Node("a" * 56, "machine a", 4)])
    ready(pool, 4)
    requests = iter([REQUEST])
    pool.assign(lambda: next(requests, None))
    workers.kill_all()
    while not (replies := pool.replies(4)):
        pool.assign(lambda: None)
    pool.close()
    assert [(request, type(answer)) for request, answer in replies] == [(REQUEST, Scored)]
    assert pool.lost == 1


def test_workers_without_anything_left_to_do_end_first_where_a_machine_gets_free(tmp_path, monkeypatch):
    monkeypatch.setattr(placement, "REFRESH_SECONDS", 0.1)
    first, second = machines = [Node(digit * 56, f"machine {digit}", 2) for digit in "ab"]
    there = [first]
    made: list[tuple[Node, Any]] = []

    def make(options: dict[str, Any]) -> Any:
        (node,) = (node for node in machines if is_on(options, node))
        made.append((node, workers(options)))
        return made[-1][1]

    workers = make_workers(toy_config(tmp_path, milliseconds=2000))
    pool = Pool(make, ResourceConfig(), lambda: there)
    pool.replies(1)
    assert pool.size == 1, "one payload, one worker"
    ready(pool, 2)
    there.append(second)
    ready(pool, 4)
    requests = iter([REQUEST])
    pool.assign(lambda: next(requests, None))
    assert pool.replies(2) == []
    assert (pool.size, pool.idle) == (2, 1)
    assert [node for node, actor in made if is_dead(actor)] == [first, first], "the second has the payload"
    while not (replies := pool.replies(1)):
        pass
    assert (len(replies), pool.lost) == (1, 0)
    pool.close()


def is_dead(actor: Any) -> bool:
    try:
        ray.get(actor.__ray_ready__.remote(), timeout=0.5)
    except ray.exceptions.RayActorError:
        return True
    except ray.exceptions.GetTimeoutError:
        return False  # it has work
    return False


def test_a_checkpoint_that_cannot_be_saved_is_no_reason_to_fail(tmp_path, caplog):
    config = toy_config(tmp_path, resources=ResourceConfig(checkpoint_seconds=0))
    (tmp_path / "checkpoints").write_text("a file where the directory should be")
    server = ray.remote(TrialServer).options(num_cpus=0).remote(StoppingConfig(), tmp_path / "checkpoints", [])
    SearchCallbacks(config, REQUEST, server).save_checkpoint(b"data")
    assert "no checkpoint of trial 3 could be saved" in caplog.text


def test_what_was_scored_at_rungs_comes_back_with_the_checkpoint(tmp_path):
    stopping = StoppingConfig(rungs=(10, 20), reduction_factor=2)
    config = toy_config(tmp_path, resources=ResourceConfig(checkpoint_seconds=0), stopping=stopping)

    def callbacks() -> SearchCallbacks:
        return SearchCallbacks(config, REQUEST, server)

    server = ray.remote(TrialServer).options(num_cpus=0).remote(stopping, tmp_path, [])
    first = callbacks()
    first.stops_at(10, {"AP": 5.0})
    first.save_checkpoint(b"line\nline")
    server = ray.remote(TrialServer).options(num_cpus=0).remote(stopping, tmp_path, [])
    second = callbacks()
    assert second.load_checkpoint() == b"line\nline"
    assert second.rewards == {"reward@10": 5.0}
    assert ray.get(server.stops.remote(4, 10, 4.0)) is True
