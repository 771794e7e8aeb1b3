"""A search that starts from a known neck: curve and table credit it with new necks alone; what a card claims."""

from __future__ import annotations

import random

import pytest

from nas.results.export import export
from nas.results.pictures import ap_over_trials
from nas.results.summary import closing_rows
from nas.runs.journal import Journal
from nas.search.config import build_space
from nas.search.records import SEARCH, Candidate
from search_space import known_genotype
from tests.support.made_up_run import made_up_run, metrics


@pytest.fixture
def seeded(tmp_path):
    """Evolution proposed the NAS-FPN cell, and it scored better than all that was found."""
    run, config, _ = made_up_run(tmp_path / "run")
    space = build_space(config)
    journal = Journal(run.journal_file, writable=True)
    random_one = space.sample(random.Random(9))
    bred = [(SEARCH, known_genotype("nas_fpn"), 90.0), (SEARCH, random_one, 70.0)]
    for origin, genotype, ap in (*bred, ("known:bifpn", known_genotype("bifpn"), 60.0)):
        proposal = sum(trial.candidate.origin == SEARCH for trial in journal.trials()) if origin == SEARCH else None
        candidate = Candidate(origin=origin, genotype=genotype, proposal=proposal)
        number = journal.add(candidate, space_choices={})
        journal.finish(number, "complete", ap, metrics(ap, 2e7))
    return run, config, Journal(run.journal_file).trials()


def test_curve_and_table_agree_about_the_best_of_the_controller(seeded):
    _, config, trials = seeded
    (axes,) = ap_over_trials(trials, "evolution").figure.axes
    (line,) = [line for line in axes.get_lines() if line.get_label() == "best of evolution so far"]
    row = next(row for row in closing_rows(config, trials) if row.label.startswith("evolution"))
    assert line.get_ydata()[-1] == row.trial.reward == 70.0


def test_a_card_says_that_a_known_neck_was_better(seeded, tmp_path):
    run, _, trials = seeded
    worse = next(trial for trial in trials if trial.state == "complete" and not trial.candidate.is_known)
    assert worse.reward < 60
    export(run, trials, tmp_path / "neck", worse.number)
    card = (tmp_path / "neck" / "README.md").read_text()
    assert "not confirmed: one training, chosen among many; it does not beat the best known neck, bifpn" in card
