"""Known necks at the search's multiply-adds: their width, and what follows from it for scheduler and journal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from experiments import signs
from nas.configuration import ConfigError, override
from nas.detection.config import NORM_GROUPS, BackboneConfig, HeadConfig
from nas.engine.run import _next_request
from nas.engine.scheduler import TrialScheduler
from nas.proxy.config import NeckConfig, ProxyConfig
from nas.runs.journal import Journal, JournalError
from nas.runs.run_directory import RunDirectory
from nas.runs.start_weights import StartWeights
from nas.search.config import ControllerConfig, SearchConfig, SpaceConfig
from nas.search.confirmation import ConfirmConfig
from nas.search.constraints import ConstraintConfig, static_cost
from nas.search.records import Candidate, Trial
from nas.search.standings import found
from nas.search.widths import known_channels, widest
from search_space import KNOWN, known_genotype
from tests.support.toy_search import toy_config

LIMIT = 1000


def fake_cost(proxy: ProxyConfig):
    """Multiply-adds are twenty times the width."""

    def cost(genotype, channels=proxy.neck.channels):
        return {"params": 5, "macs": 20 * channels}

    return cost


@pytest.fixture
def config(tmp_path: Path) -> SearchConfig:
    """Candidates have 32 channels, known necks 50; the search starts from the known fpn."""
    base = toy_config(tmp_path, constraints=ConstraintConfig(max_macs=LIMIT), random_trials=0, trials=3)
    return replace(
        base,
        proxy=replace(base.proxy, neck=replace(base.proxy.neck, channels=32)),
        space=SpaceConfig(name="pyramid", max_cells=12),
        controller=ControllerConfig(name="evolution", initial=("fpn",)),
    )


def make_plan(config: SearchConfig, directory: Path) -> TrialScheduler:
    journal = Journal(directory / "journal.log", writable=True)
    return TrialScheduler(config, journal, lambda trial: None, fake_cost)


def run_all(scheduler: TrialScheduler) -> list[Trial]:
    while (following := scheduler.next()) is not None:
        number, candidate = following
        width = candidate.channels or 32
        scheduler.complete(number, {"AP": 50.0 - number, "params": 5, "macs": 20 * width, "latency_ms": 1.0})
    return scheduler.journal.trials()


def test_a_width_comes_closest_to_the_limit_without_passing_it():
    assert widest(lambda width: width**2, 100, step=2) == 10
    assert widest(lambda width: width**2, 99, step=2) == 8
    assert widest(lambda width: width**2, 99, step=3) == 9
    assert widest(lambda width: width**2, 3, step=2) == 2, "the narrowest, where all are dearer"


def test_a_width_beyond_a_dearer_one_is_found_where_a_convolution_is_left_out():
    costs = {2: 20, 4: 50, 6: 110, 8: 130, 10: 90}
    assert widest(lambda width: costs.get(width, 1000), 100, step=2) == 10


@pytest.mark.parametrize("head", [HeadConfig(), HeadConfig(norm=True)])
@pytest.mark.parametrize("name", ["fpn", "quad_fpn", "pan"])
def test_known_necks_meet_the_multiply_adds_that_are_counted_of_the_real_neck(name, head):
    from nas.detection.backbone import build_backbone
    from nas.detection.cost import feature_shapes, neck_cost
    from nas.proxy.candidate import candidate_neck

    config = replace(signs.wide(), constraints=ConstraintConfig(max_macs=20_172_800))
    config = replace(config, proxy=replace(config.proxy, head=head))
    channels = known_channels(config, known_genotype(name), static_cost(config.proxy))
    step = NORM_GROUPS if head.norm else 2
    backbone = build_backbone(BackboneConfig(name=config.proxy.backbone.name))
    shapes = feature_shapes(backbone, (config.proxy.image_size,) * 2)

    def macs(width: int) -> int:
        neck = replace(config.proxy.neck, channels=width)
        return neck_cost(candidate_neck(known_genotype(name), backbone.channels, backbone.levels, neck), shapes).macs

    assert channels % step == 0
    assert macs(channels) <= 20_172_800 or channels == step
    assert macs(channels + step) > 20_172_800


@pytest.mark.parametrize("changes", [{"known_width": "same"}, {"constraints": ConstraintConfig(max_params=5)}])
def test_known_necks_keep_the_width_of_the_candidates_if_asked_to_or_without_a_limit(config, changes):
    assert known_channels(replace(config, **changes), known_genotype("fpn"), fake_cost(config.proxy)) is None


def test_the_width_goes_into_the_journal_and_to_the_worker(config, tmp_path):
    scheduler = make_plan(config, tmp_path)
    requests = [_next_request(scheduler, StartWeights(RunDirectory(tmp_path))) for _ in range(3)]
    assert [request.candidate.channels for request in requests] == [50, 50, None]
    assert [trial.candidate.channels for trial in Journal(tmp_path / "journal.log").trials()] == [50, 50, None]


def test_a_candidate_shares_a_known_neck_s_result_only_at_its_width(config, tmp_path):
    trials = run_all(make_plan(config, tmp_path))
    twin = next(trial for trial in trials if trial.candidate.origin == "search")
    assert twin.candidate.genotype.fingerprint == trials[0].candidate.genotype.fingerprint
    assert (twin.copied_from, twin.metrics["macs"]) == (None, 640)
    assert twin not in found(trials, "search"), "it is no new neck all the same"


@pytest.mark.parametrize("changes", [{"known_width": "same"}, {"constraints": ConstraintConfig(max_macs=32 * 20)}])
def test_a_candidate_shares_a_known_neck_s_result_where_the_widths_are_equal(config, tmp_path, changes):
    trials = run_all(make_plan(replace(config, **changes), tmp_path))
    twin = next(trial for trial in trials if trial.candidate.origin == "search")
    assert twin.copied_from == 0


def test_trials_in_work_share_by_width_too(config, tmp_path):
    scheduler = make_plan(replace(config, known=("fpn",)), tmp_path)
    known, twin = scheduler.next(), scheduler.next()
    assert known[1].genotype.fingerprint == twin[1].genotype.fingerprint
    scheduler.complete(known[0], {"AP": 1.0, "params": 5, "macs": 1000})
    assert scheduler.journal.trials()[twin[0]].state == "running"


def test_candidates_are_as_wide_as_the_limit_allows_if_asked_to(config, tmp_path):
    trials = run_all(make_plan(replace(config, candidate_width="equal"), tmp_path))
    assert {trial.candidate.channels for trial in trials if not trial.candidate.confirms} == {50}
    twin = next(trial for trial in trials if trial.candidate.origin == "search")
    assert twin.copied_from == 0, "at the width of the known neck it is that neck"


def test_the_limit_is_checked_at_a_candidate_s_own_width(config, tmp_path):
    narrow = replace(config, candidate_width="equal", constraints=ConstraintConfig(max_macs=100))
    trials = run_all(make_plan(replace(narrow, proxy=replace(narrow.proxy, neck=NeckConfig(channels=64))), tmp_path))
    assert not [trial for trial in trials if trial.rejected]
    assert {trial.candidate.channels for trial in trials} == {4}


def test_children_do_not_inherit_at_another_width():
    with pytest.raises(ConfigError, match="candidate_width=same, or"):
        override(signs.search(), ["candidate_width=equal", "inherit.steps=100"])


def test_a_search_goes_on_with_the_widths_of_its_journal(config, tmp_path):
    first = make_plan(config, tmp_path)
    number, candidate = first.next()
    again = make_plan(replace(config, known_width="same"), tmp_path)
    assert again.next() == (number, candidate)


def test_a_known_contender_is_confirmed_at_its_width(config, tmp_path):
    config = replace(config, confirm=ConfirmConfig(trainings=4, found=1, known=1))
    trials = run_all(make_plan(config, tmp_path))
    again = [trial.candidate for trial in trials if trial.candidate.confirms is not None]
    known = [candidate.channels for candidate in again if trials[candidate.confirms].candidate.is_known]
    others = [candidate.channels for candidate in again if not trials[candidate.confirms].candidate.is_known]
    assert (known, others) == ([50, 50], [None, None])


@pytest.mark.parametrize("channels", [0, 10**9, "wide"])
def test_a_journal_with_a_senseless_width_is_refused(tmp_path, channels):
    journal = Journal(tmp_path / "journal.log", writable=True)
    neck = Candidate(origin="known:fpn", genotype=KNOWN["fpn"]())
    with pytest.raises(JournalError, match="channels"):
        journal.add(replace(neck, channels=channels), space_choices={})
