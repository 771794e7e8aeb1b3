"""The confirmed answer of a search as people and programs get it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from nas.results.confirmed import answer, best_training, conclusion, standing_rows, verdict_of, verdict_record
from nas.results.export import export
from nas.results.report import write_report
from nas.results.summary import status
from nas.runs.journal import Journal
from nas.search.confirmation import Confirmation, ConfirmConfig
from nas.search.records import Candidate
from necks import build_neck, save_exported
from tests.support.made_up_run import made_up_run, metrics

CONFIRM = ConfirmConfig(trainings=6, found=2, known=1)


@pytest.fixture
def confirmed(tmp_path):
    """The second best observed wins: its trainings are 5 AP above those of the others."""
    run, config, trials = made_up_run(tmp_path / "run")
    config = replace(config, confirm=CONFIRM)
    first, second = Confirmation(CONFIRM, trials)._found
    with run.claim(config):
        journal = Journal(run.journal_file, writable=True)
        while (chosen := Confirmation(CONFIRM, journal.trials()).next()) is not None:
            genotype = chosen.candidate.genotype
            number = journal.add(Candidate(origin=f"confirm:{chosen.number}", genotype=genotype), space_choices={})
            ap = 45.0 + 5.0 * (chosen.number == second.number) + 0.1 * number
            journal.finish(number, "complete", ap, metrics(ap, 2e7))
            save_exported(build_neck(genotype, in_channels=(8, 8, 8), out_channels=8), run.trial(number))
    return run, config, Journal(run.journal_file).trials(), (first, second)


def test_the_answer_is_the_confirmed_best_not_the_observed(confirmed):
    _, config, trials, (first, second) = confirmed
    assert first.reward > second.reward
    assert answer(config, trials) == second
    assert best_training(trials, second).candidate.confirms == second.number
    verdict = verdict_of(config, trials)
    assert verdict.is_better
    assert f"trial {second.number} (search) beats the best known neck" in conclusion(config, verdict)
    assert standing_rows(config, verdict)[0][0] == f"trial {second.number} (search)"
    json.dumps(verdict_record(config, verdict), allow_nan=False)


def test_status_gives_the_verdict_beside_what_was_observed(confirmed):
    _, config, trials, (_, second) = confirmed
    now = status(config, trials, live=False)
    assert now["confirmed"]["best_found"]["trial"] == second.number
    assert now["best_found"]["trial"] != second.number


def test_report_export_and_model_card_say_it(confirmed, tmp_path):
    run, config, trials, (_, second) = confirmed
    page = write_report(run, config, trials).read_text()
    assert 'id="confirmation"' in page
    assert "beats the best known neck" in page
    assert f"1. Trial {second.number} (search): AP 5" in page
    assert "confirmed, +5." in page
    assert export(run, trials, tmp_path / "neck") == second
    card = (tmp_path / "neck" / "README.md").read_text()
    assert "beats the best known neck" in card


def test_a_search_without_a_confirmation_says_that_of_its_export(tmp_path):
    run, config, trials = made_up_run(tmp_path / "run")
    assert verdict_of(config, trials) is None
    export(run, trials, tmp_path / "neck")
    assert "not confirmed: one training, chosen among many" in (tmp_path / "neck" / "README.md").read_text()
