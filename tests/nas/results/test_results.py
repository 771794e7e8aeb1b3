"""Status, tables, pictures, report and export of a run."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from pathlib import Path

import pytest

from nas.drawing.architecture import architecture
from nas.results import pictures
from nas.results.export import ExportError, export
from nas.results.front import pareto_front
from nas.results.report import write_report
from nas.results.summary import cell, closing_rows, columns, front_rows, rejections, status, steps_by_side, steps_line
from nas.results.trials import trial_record
from nas.search.constraints import ConstraintConfig
from nas.search.records import Candidate, Trial
from nas.search.reward import RewardConfig
from nas.search.standings import best_found
from necks import load_exported
from search_space import KNOWN, nas_fpn_space, pyramid_space
from tests.support.made_up_run import made_up_run


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    return made_up_run(tmp_path_factory.mktemp("run") / "run")


def test_training_steps_are_told_by_side(made_up):
    """A stopped trial has those until its rung, a shared result none; a journal that says none is not guessed at."""
    _, config, trials = made_up
    assert steps_by_side(config, trials) == {}
    done = [t for t in trials if t.reward is not None]
    told = [replace(t, metrics={**t.metrics, "steps": 10 + t.number}) for t in done]
    found = steps_by_side(config, told)
    assert sum(found.values()) == sum(10 + t.number for t in done)
    assert set(found) == {"known necks", "random", "evolution"}
    twin = replace(told[-1], number=99, copied_from=told[-1].number)
    again = replace(told[0], candidate=replace(told[0].candidate, origin=f"confirm:{told[0].number}"))
    assert steps_by_side(config, [*told, twin, again]) == {**found, "confirmation": 10 + told[0].number}
    assert steps_line(config, told[:1]) == "training steps: known necks 10"
    assert status(config, told, live=False)["training_steps"] == found


def test_status_counts_and_best(made_up):
    _, config, trials = made_up
    now = status(config, trials, live=True)
    assert (now["finished"], now["failed"], now["running"], now["total"]) == (6, 1, 1, 8)
    assert now["state"] == "running"
    assert status(config, trials, live=False)["state"] == "interrupted"
    assert now["best"]["reward"] == max(trial.reward for trial in trials if trial.reward is not None)
    assert json.loads(json.dumps(now)) == now


def test_best_found_leaves_the_known_necks_out(made_up):
    _, _, trials = made_up
    found = best_found(trials)
    others = [t.reward for t in trials if t.reward is not None and not t.candidate.origin.startswith("known:")]
    assert found.reward == max(others)
    assert best_found(trials[:2]) is None


def test_closing_rows_name_search_random_and_every_known_neck(made_up):
    _, config, trials = made_up
    rows = closing_rows(config, trials)
    assert [row.label for row in rows] == ["evolution, best of 3", "random, best of 1", "fpn", "nas_fpn"]
    assert [row.trial is None for row in closing_rows(config, [])] == [True] * 4


def test_the_width_of_a_known_neck_is_seen_everywhere(tmp_path):
    run, config, trials = made_up_run(tmp_path / "run")
    wide, metrics = replace(trials[0].candidate, channels=44), {**trials[0].metrics, "AP": 99.0}
    fpn = replace(trials[0], reward=99.0, metrics=metrics, candidate=wide)
    trials = [fpn, *trials[1:]]
    label = f"{config.known[0]}, 44 channels"
    assert label in [row.label for row in closing_rows(config, trials)]
    assert f"{label} (known)" in [row.label for row in front_rows(config, trials)]
    assert status(config, trials, live=False)["best"]["channels"] == 44
    assert status(config, trials, live=False)["best_found"]["channels"] == config.proxy.neck.channels
    assert trial_record(fpn)["channels"] == 44
    write_report(run, config, trials)
    page = (run.report / "index.html").read_text()
    assert page.count(label) > 1
    assert '["channels","44"]' in page
    export(run, trials, tmp_path / "card", 0)
    assert f"(known:{label})" in (tmp_path / "card" / "README.md").read_text()


def test_the_pictures_show_every_scored_candidate(made_up):
    _, config, trials = made_up
    figure = pictures.ap_over_trials(trials, config.controller.name).figure
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert sorted(len(line.get_xdata()) for line in dots) == [1, 3]
    scatter = pictures.ap_against_cost(trials, config.controller.name).figure
    diamonds = [line for line in scatter.axes[0].lines if line.get_marker() == "D"]
    assert [len(line.get_xdata()) for line in diamonds] == [2]


@pytest.mark.parametrize("name", [*KNOWN, "sampled"])
def test_every_topology_can_be_drawn(name, tmp_path):
    genotype = nas_fpn_space().sample(random.Random(3)) if name == "sampled" else KNOWN[name]()
    figure = architecture(genotype)
    figure.savefig(tmp_path / "drawn.svg")
    (axes,) = figure.axes
    circles = [patch for patch in axes.patches if type(patch).__name__ == "Circle"]
    arrows = [patch for patch in axes.patches if type(patch).__name__ == "FancyArrowPatch"]
    assert len(circles) == genotype.num_nodes
    assert len(arrows) == sum(len(cell.inputs) for cell in genotype.cells) + sum(map(len, genotype.dangling))


def measured(number: int, cost: float, ap: float | None, **fields) -> Trial:
    """A trial with a made-up cost in each unit."""
    values = {"macs": cost, "params": -cost, "latency_ms": cost}
    values |= {} if ap is None else {"AP": ap, "AP50": 100 - ap}
    known = {"state": "complete", "reward": ap, "error": None, "copied_from": None, "order": number}
    candidate = Candidate(origin="search", genotype=KNOWN["fpn"](), proposal=number)
    return Trial(**({"number": number, "candidate": candidate, "metrics": values} | known | fields))


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([], []),
        ([(1.0, 1.0)], [0]),
        ([(2.0, 5.0), (1.0, 1.0), (3.0, 4.0), (1.0, 2.0)], [3, 0]),
        ([(1.0, 2.0), (2.0, 2.0)], [0]),
        ([(2.0, 2.0), (1.0, 2.0), (1.0, 2.0)], [1]),
    ],
)
def test_pareto_front(points, front):
    trials = [measured(number, *point) for number, point in enumerate(points)]
    assert [trial.number for trial in pareto_front(trials)] == front


def test_the_pareto_front_over_other_metrics_and_without_failed_trials():
    trials = [measured(0, 1.0, 30.0), measured(1, 2.0, 40.0), measured(2, 0.5, None, state="failed")]
    assert [trial.number for trial in pareto_front(trials, "latency_ms")] == [0, 1]
    assert [trial.number for trial in pareto_front(trials, "params")] == [1]
    assert [trial.number for trial in pareto_front(trials, "latency_ms", "AP50")] == [0]


def test_front_rows_name_known_necks_and_what_is_over_a_limit(made_up):
    _, config, trials = made_up
    rows = front_rows(config, trials)
    assert [row.trial for row in rows] == pareto_front(trials, "macs")
    known = [row.label for row in rows if row.trial.candidate.is_known]
    assert known == [name for name in ("fpn (known)", "nas_fpn (known)") if name in known]
    tight = replace(config, constraints=ConstraintConfig(max_params=80_000, max_latency_ms=1.4))
    assert [row.label for row in closing_rows(tight, trials)][2:] == [
        "fpn (over max_params, max_latency_ms)",
        "nas_fpn (over max_params, max_latency_ms)",
    ]
    assert all(row.label.endswith("(over max_params, max_latency_ms)") for row in front_rows(tight, trials))


def test_a_reward_that_is_no_metric_has_a_column(made_up):
    _, config, trials = made_up
    assert columns(config, [])[0] == "AP"
    weighed = replace(config, reward=RewardConfig(objective="mnasnet", target=2e7, cost="params"))
    assert columns(weighed, [])[:2] == ("reward", "AP")
    assert cell(trials[0], "reward") == f"{trials[0].reward:.1f}"
    other = replace(config, reward=RewardConfig(metric="AP75", objective="pareto"))
    assert columns(other, [])[:2] == ("AP75", "AP")


def test_rejected_candidates_are_counted_apart(tmp_path):
    run, config, trials = made_up_run(tmp_path / "run")
    refused = [
        measured(8 + count, 1.0, None, state="failed", error="constraint: ...", rejected=limits)
        for count, limits in enumerate([("max_params",), ("max_params", "max_macs")])
    ]
    before, now = status(config, trials, live=False), status(config, trials + refused, live=False)
    assert now == {**before, "rejected": 2}
    assert rejections(trials) == ""
    phrase = "2 candidates were over a limit and not trained (2 by max_params, 1 by max_macs)"
    assert rejections(trials + refused) == phrase
    config = replace(config, reward=RewardConfig(objective="mnasnet", cost="latency_ms", target=1))
    page = write_report(run, config, trials + refused).read_text()
    assert phrase in page
    assert "constraint: ..." not in page
    assert "Pareto front: AP against latency" in page
    assert (run.report / "ap_against_latency_ms.png").is_file()


def test_export_writes_the_best_found_and_it_loads(made_up, tmp_path):
    run, _, trials = made_up
    trial = export(run, trials, tmp_path / "neck")
    assert trial == best_found(trials)
    neck = load_exported(tmp_path / "neck")
    assert neck.genotype == trial.candidate.genotype
    readme = (tmp_path / "neck" / "README.md").read_text()
    assert 'necks.load_exported("neck")' in readme
    assert trial.candidate.genotype.fingerprint in readme
    export(run, trials, tmp_path / "neck", number=0)
    assert load_exported(tmp_path / "neck").genotype == KNOWN["fpn"]()


def test_the_readmes_python_runs(made_up, tmp_path, monkeypatch):
    import torch

    run, _, trials = made_up
    export(run, trials, tmp_path / "neck")
    blocks = re.findall(r"```python\n(.*?)```", (tmp_path / "neck" / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    monkeypatch.chdir(tmp_path)
    names = {f"c{level}": torch.randn(1, 8, 64 >> level, 64 >> level) for level in (3, 4, 5)}
    exec("\n".join(blocks), names)
    assert list(names["pyramid"]) == ["p3", "p4", "p5", "p6", "p7"]


def test_what_cannot_be_exported_says_why(made_up, tmp_path):
    run, _, trials = made_up
    for number in (4, 99, -1):
        with pytest.raises(ExportError, match=f"trial {number} was not scored"):
            export(run, trials, tmp_path / "neck", number)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ExportError, match="is not empty"):
        export(run, trials, tmp_path)
    with pytest.raises(ExportError, match="no new neck has been scored"):
        export(run, trials[:2], tmp_path / "neck")


def test_weights_that_were_not_kept_are_named(tmp_path):
    import shutil

    run, _, trials = made_up_run(tmp_path / "run")
    shutil.rmtree(run.trial(2))
    with pytest.raises(ExportError, match=r"weights of trial 2 were not kept.*: 0, 1, "):
        export(run, trials, Path(tmp_path / "neck"), 2)


def stopped_ones(trials: list[Trial], count: int) -> list[Trial]:
    """Random candidates that were stopped early, after those that there are."""
    like = next(trial for trial in trials if trial.candidate.origin == "random")
    return [replace(like, number=len(trials) + k, state="stopped", reward=1.0) for k in range(count)]


def test_candidates_that_were_stopped_early_count_as_tried(made_up):
    _, config, trials = made_up
    rows = closing_rows(config, trials + stopped_ones(trials, 7))
    assert [row.label for row in rows[:2]] == ["evolution, best of 3", "random, best of 8"]
    assert rows[1].trial.state == "complete"


def test_the_best_so_far_goes_on_over_candidates_that_were_stopped_early(made_up):
    _, _, trials = made_up
    axes = pictures.ap_over_trials(trials + stopped_ones(trials, 7), "evolution").figure.axes[0]
    line = next(line for line in axes.lines if line.get_label() == "best of random so far")
    assert list(line.get_xdata()) == [1, 8]
    assert len(set(line.get_ydata())) == 1


@pytest.mark.parametrize("seed", range(8))
def test_every_arrow_of_an_architecture_lies_in_the_picture(seed):
    genotype = pyramid_space(max_cells=14).sample(random.Random(seed))
    figure = architecture(genotype)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    frame = axes.get_window_extent()
    for patch in axes.patches:
        extent = patch.get_window_extent()
        assert extent.y0 >= frame.y0 - 1
        assert extent.y1 <= frame.y1 + 1
