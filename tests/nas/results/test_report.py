"""The report's page and files: complete, of bounded size, without network."""

from __future__ import annotations

import json
import random
import re
import shlex
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from controllers.records import Outcome
from experiments import signs
from nas.drawing import layout
from nas.results import importance
from nas.results.controller_state import controller_state
from nas.results.figures import report_figures
from nas.results.importance import importances
from nas.results.report import write_report
from nas.results.summary import failure_reasons
from nas.search.config import ControllerConfig, build_space
from nas.search.proposing import build_controller, candidate_of
from nas.search.records import SEARCH, Trial
from search_space import KNOWN, Genotype, nas_fpn_space
from tests.support.made_up_run import made_up_run

MIB = 2**20
FILES = (
    "ap_over_trials",
    "ap_against_params",
    "ap_against_macs",
    "ap_against_latency_ms",
    "best",
    "best_2",
    "best_3",
    "controller",
)


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    return made_up_run(tmp_path_factory.mktemp("run") / "run")


@pytest.fixture(scope="module")
def text(made_up):
    return write_report(*made_up).read_text()


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))


def embedded(text: str) -> dict:
    """What the script reads."""
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)[1])


def test_drawings_take_the_colours_of_the_page_and_say_how_to_read_them(text):
    section = text[text.index('<section id="architectures">') : text.index('<section id="decisions">')]
    arrows = re.findall(r'<path[^>]*opacity="0.65"[^>]*>', section)
    assert arrows
    assert all('stroke="currentColor"' in arrow for arrow in arrows)
    assert sum('fill="currentColor"' in arrow for arrow in arrows) == len(arrows) / 2, "heads are filled, lines are not"
    assert "dangling add" in section
    assert "Numbers are the nodes of the genotype" in section


def test_the_page_has_every_figure_and_no_link_out(made_up, text):
    run, *_ = made_up
    tags = Tags()
    tags.feed(text)
    names = [tag for tag, _ in tags.seen]
    assert names.count("svg") == len(FILES)
    links = [value for _, attributes in tags.seen for key, value in attributes.items() if key in ("src", "href")]
    assert not [link for link in links if link and not link.startswith(("#", "data:,"))]
    assert "loss is nan at step 3 &lt;b&gt;" in text
    assert "<b>" not in text
    for name in FILES:
        assert (run.report / f"{name}.png").stat().st_size > 2000
        assert (run.report / f"{name}.svg").is_file()


def test_every_marker_has_its_trial(made_up, text):
    _, config, trials = made_up
    data = embedded(text)
    for group, numbers in data["points"].items():
        drawn = re.search(rf'<g id="{group}">(.*?)</g>\s*</g>', text, re.DOTALL)[1]
        assert drawn.count("<use ") == len(numbers), group
    assert sorted(data["points"]["trials-search"] + data["points"]["trials-random"]) == [
        trial.number for trial in trials if trial.state == "complete" and not trial.candidate.is_known
    ]
    ids = re.findall(r'<g id="((?:trials|macs|params|latency_ms)-\w+)"', text)
    assert len(ids) == len(set(ids)) == len(data["points"])
    assert [Genotype.from_dict(trial["genotype"]) for trial in data["trials"]] == [t.candidate.genotype for t in trials]
    assert {figure.name for figure in report_figures(config, trials)} == set(FILES)


def test_the_command_of_a_trial_works_and_says_what_its_weights_are(made_up, text, tmp_path, in_process):
    run, _, trials = made_up
    usages = {trial["number"]: trial["usage"] for trial in embedded(text)["trials"]}
    for trial in trials:
        why, command = usages[trial.number]
        if trial.state == "complete":
            assert why == "Weights and files of it:"
            words = shlex.split(command.replace("DIR", str(tmp_path / str(trial.number))))
            assert in_process(*words[1:])[0] == 0
        else:
            assert why == "It has no trained weights. To train its topology:"
            assert command == f"nasfpn train EXPERIMENT --neck {run.path}:{trial.number} --run-dir DIR"


def test_a_trial_whose_weights_were_not_kept_has_no_export(tmp_path):
    run, config, trials = made_up_run(tmp_path / "my run")
    shutil.rmtree(run.trial(0))
    usages = [trial["usage"] for trial in embedded(write_report(run, config, trials).read_text())["trials"]]
    assert usages[0] == [
        "Its weights were not kept (keep_weights). To train its topology:",
        f"nasfpn train EXPERIMENT --neck '{run.path}:0' --run-dir DIR",
    ]
    assert usages[1][1] == f"nasfpn export '{run.path}:1' --output DIR"


def test_every_trial_is_a_line_of_json(made_up, text):
    run, _, trials = made_up
    lines = [json.loads(line) for line in (run.report / "trials.jsonl").read_text().splitlines()]
    assert [line["number"] for line in lines] == list(range(len(trials)))
    assert [Genotype.from_dict(line["genotype"]) for line in lines] == [t.candidate.genotype for t in trials]
    assert [line["reward"] for line in lines] == [trial.reward for trial in trials]
    assert {line["state"] for line in lines} == {"complete", "failed", "running"}
    assert next(line for line in lines if line["state"] == "failed")["error"] == "loss is nan at step 3 <b>"


def test_a_run_without_results_has_a_page(tmp_path):
    run, config, _ = made_up_run(tmp_path / "run")
    text = write_report(run, config, []).read_text()
    assert "0 of 8 finished" in text
    assert "<figure>" not in text


def test_a_page_of_a_thousand_trials_stays_below_five_megabytes(tmp_path):
    run, config, trials = made_up_run(tmp_path / "run", searched=1000)
    path = write_report(run, config, trials)
    assert path.stat().st_size < 5 * MIB
    assert sum(file.stat().st_size for file in run.report.iterdir()) < 10 * MIB
    assert len(embedded(path.read_text())["trials"]) == len(trials) > 1000


def observed(controller: str, count: int) -> tuple:
    """A search of `count` candidates in which only the first cell's level matters."""
    run_config = replace(signs.smoke(), controller=ControllerConfig(name=controller, options=OPTIONS[controller]))
    proposer = build_controller(run_config, build_space(run_config))
    rng = random.Random(1)
    trials = []
    for number in range(count):
        (proposal,) = proposer.propose(1)
        reward = 30 + 10 * (proposal.choices["cell0.level"] == 5) + rng.random()
        proposer.observe([Outcome(proposal, reward, "complete", {})])
        outcome = {"state": "complete", "reward": reward, "metrics": {}, "error": None, "copied_from": None}
        trials.append(Trial(number=number, candidate=candidate_of(SEARCH, proposal), order=number, **outcome))
    return run_config, trials, proposer


OPTIONS = {"evolution": {"population_size": 6, "tournament_size": 2}, "ppo": {"batch_size": 4}, "random": {}}


def test_the_decision_that_matters_has_the_largest_share():
    config, trials, _ = observed("random", 60)
    shares = importances(config, trials)
    assert next(iter(shares)) == "cell0.level"
    assert shares["cell0.level"] > 0.5
    assert sum(shares.values()) == pytest.approx(1)
    assert importances(config, trials[: importance.LEAST_TRIALS - 1]) == {}
    assert importances(config, [replace(trial, reward=1.0) for trial in trials]) == {}


@pytest.mark.parametrize("name", ["evolution", "ppo"])
def test_the_state_of_a_controller_is_that_which_it_had(name):
    config, trials, controller = observed(name, 20)
    series = controller_state(config, trials)
    now = controller.diagnostics()
    assert {key: values[-1] for key, values in series.items()} == {
        key: (20, pytest.approx(value)) for key, value in now.items()
    }
    assert [count for count, _ in next(iter(series.values()))] == list(range(1, 21))


def test_controllers_without_state_have_no_figure_and_strange_journals_neither():
    config, trials, _ = observed("random", 3)
    assert controller_state(config, trials) == {}
    config, trials, _ = observed("ppo", 3)
    strange = [replace(trial, candidate=replace(trial.candidate, info={})) for trial in trials]
    assert controller_state(config, strange) == {}


def test_reasons_that_differ_in_figures_are_one(made_up):
    _, _, trials = made_up
    failed = next(trial for trial in trials if trial.state == "failed")
    more = [
        replace(failed, number=20, error="loss is nan at step 77 <b>"),
        replace(failed, number=21, error="out of memory"),
        replace(failed, number=22, error="constraint", rejected=("max_params",)),
    ]
    assert failure_reasons([*trials, *more]) == {
        "loss is nan at step 3 <b>": [failed.number, 20],
        "out of memory": [21],
    }


@pytest.mark.parametrize("seed", range(4))
def test_arrows_keep_away_from_other_nodes_where_they_can(seed):
    genotype = nas_fpn_space().sample(random.Random(seed)) if seed else KNOWN["nas_fpn"]()
    places = layout.places(genotype)
    arrows = layout.arrows(genotype)
    assert len(arrows) == sum(len(cell.inputs) for cell in genotype.cells) + sum(map(len, genotype.dangling))
    for arrow in arrows:
        points = layout.curve(places[arrow.start], places[arrow.end], arrow.bend)
        straight = layout.curve(places[arrow.start], places[arrow.end], 0.0)
        others = [place for node, place in enumerate(places) if node not in (arrow.start, arrow.end)]
        gaps = [min(((curve - place) ** 2).sum(1).min() for place in others) for curve in (points, straight)]
        assert gaps[0] >= min(gaps[1], layout.ENOUGH**2) - 1e-9
