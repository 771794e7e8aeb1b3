import pytest

from nas.engine.trial_server import TrialServer, checkpoint_file
from nas.runs.journal import Journal
from nas.search.records import Candidate
from nas.search.stopping import Rungs, StoppingConfig
from search_space import known


def test_the_best_third_goes_on_and_the_first_two_always_do():
    rungs = Rungs(StoppingConfig(rungs=(10,)))
    rewards = [5.0, 4.0, 3.0, 6.0, 5.5, 1.0, 7.0]
    assert [rungs.stops(number, 10, reward) for number, reward in enumerate(rewards)] == [
        False, False, True, False, False, True, False,
    ]  # fmt: skip


def test_equal_rewards_go_on_together():
    rungs = Rungs(StoppingConfig(rungs=(10,), reduction_factor=2))
    assert not any(rungs.stops(number, 10, 1.0) for number in range(8))


def test_a_trial_that_asks_again_is_not_compared_with_itself():
    rungs = Rungs(StoppingConfig(rungs=(10,), reduction_factor=2))
    rungs.stops(0, 10, 9.0)
    assert rungs.stops(1, 10, 5.0)
    assert not rungs.stops(1, 10, 10.0)
    assert not rungs.stops(1, 10, 10.0)


@pytest.mark.parametrize("rungs", [(0,), (20, 10), (10, 10)])
def test_rungs_are_ascending_steps(rungs):
    with pytest.raises(ValueError, match="rungs must be ascending"):
        StoppingConfig(rungs=rungs)


def test_a_desk_knows_what_the_journal_says_and_leaves_known_necks_out(tmp_path):
    journal = Journal(tmp_path / "journal.log", writable=True)
    for number, origin in enumerate(("known:fpn", "search", "search", "search")):
        journal.add(Candidate(origin=origin, genotype=known.fpn(), proposal=number), space_choices={})
        metrics = {"AP": 1.0, "reward@10": 9.0 - number}
        journal.finish(number, "stopped", 9.0 - number, metrics, copied_from=2 if number == 3 else None)
    server = TrialServer(StoppingConfig(rungs=(10,), reduction_factor=2), tmp_path, journal.trials())
    assert server.stops(4, 10, 7.5) is False, "8 and 7 were scored there; neither the known neck nor the copy counts"
    assert server.stops(5, 10, 6.0) is True
    for number in (6, 8):
        server.remember(number, {"reward@10": 9.0, "AP": 3.0})
    assert server.stops(7, 10, 7.2) is True


def test_checkpoints_are_whole_or_not_there(tmp_path):
    server = TrialServer(StoppingConfig(), tmp_path / "checkpoints", [])
    assert server.load_checkpoint("0001-a") is None
    server.save_checkpoint("0001-a", b"one")
    server.save_checkpoint("0001-a", b"two")
    checkpoint_file(tmp_path / "checkpoints", "0001-a").with_suffix(".partial").write_bytes(b"thr")
    assert server.load_checkpoint("0001-a") == b"two"
    assert server.load_checkpoint("0001-b") is None
