"""The report in a real browser (Debian's package chromium); passed over where there is none."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest

from nas.results.report import write_report
from tests.support.made_up_run import made_up_run

PHONE = {"width": 390, "height": 844}

pictures = pytest.importorskip("experiments.report_pictures")
pytestmark = pytest.mark.skipif(pictures.find_chromium() is None, reason="needs Chromium")


@pytest.fixture(scope="module")
def browser():
    with pictures.chromium() as started:
        yield started


@pytest.fixture(scope="module", params=[10, 1000], ids=lambda count: f"{count} trials")
def report(request, tmp_path_factory):
    run, config, trials = made_up_run(tmp_path_factory.mktemp("run") / "run", searched=request.param)
    return write_report(run, config, trials), trials


@pytest.fixture
def opened(browser, report):
    """The page, what its console complained of, and what it asked the network for."""
    path, trials = report
    page = browser.new_page()
    complaints, requests = [], []
    page.on("console", lambda message: complaints.append(message.text) if message.type != "log" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.as_uri())
    yield page, trials
    page.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []


def best_of(trials):
    return max((trial for trial in trials if trial.reward is not None), key=lambda trial: trial.reward)


def test_figures_are_there_and_every_marker_is_a_trial(opened):
    page, trials = opened
    assert page.locator("figure svg").count() >= 7
    scored = [trial for trial in trials if trial.state == "complete"]
    searched = [trial.number for trial in scored if trial.candidate.origin == "search"]
    marks = page.locator("#trials-search .point")
    assert marks.evaluate_all("marks => marks.map((mark) => Number(mark.dataset.trial))") == searched
    assert page.locator("#macs-known .point").count() == 2


def test_a_marker_lies_where_its_reward_is(opened):
    """Higher rewards are higher up: marks and numbers are in the same order."""
    page, trials = opened
    rewards = {trial.number: trial.reward for trial in trials}
    places = page.locator("#trials-search .point").evaluate_all(
        "marks => marks.map((mark) => [Number(mark.dataset.trial), mark.getBoundingClientRect().y])"
    )
    by_height = [number for number, _ in sorted(places, key=lambda entry: entry[1])]
    heights = [rewards[number] for number in by_height]
    assert all(upper >= lower - 0.5 for upper, lower in pairwise(heights))


def test_hovering_shows_the_trial(opened):
    page, trials = opened
    best = best_of(trials)
    page.locator(f"#macs-search [data-trial='{best.number}']").hover(force=True)
    tip = page.locator("#tip")
    assert tip.is_visible()
    assert tip.inner_text().startswith(f"trial {best.number} (search): AP {best.reward:.1f}, AP50 ")
    assert re.search(r"\d k params, \d+\.\d M MACs, 1\.5 ms$", tip.inner_text())
    page.mouse.move(1, 1)
    page.locator("h1").hover()
    assert not tip.is_visible()


def test_a_click_shows_the_cells_and_their_json(opened):
    page, trials = opened
    best = best_of(trials)
    genotype = best.candidate.genotype
    page.locator(f"#macs-search [data-trial='{best.number}']").click(force=True)
    panel = page.locator("#panel")
    assert panel.get_by_role("heading").inner_text() == f"Trial {best.number} (search)"
    assert panel.locator("svg circle").count() == genotype.num_nodes
    arrows = sum(len(cell.inputs) for cell in genotype.cells) + sum(map(len, genotype.dangling))
    assert panel.locator("svg > path").count() == arrows
    assert json.loads(panel.locator("pre").text_content()) == genotype.to_dict()
    assert f":{best.number} --" in panel.inner_text()
    page.keyboard.press("Escape")
    assert not panel.is_visible()


def test_it_can_be_used_without_a_mouse(opened):
    page, trials = opened
    best = best_of(trials)
    page.locator(f"#trials-search [data-trial='{best.number}']").focus()
    assert page.locator("#tip").is_visible()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="close").click()
    assert not page.locator("#panel").is_visible()


def test_all_trials_are_a_table_that_opens_them(opened):
    page, trials = opened
    page.locator("#all summary").click()
    rows = page.locator("#all tr[data-trial]")
    rows.first.wait_for()
    assert rows.count() == len(trials)
    assert rows.first.locator("td").first.inner_text() == str(best_of(trials).number)
    failed = next(trial for trial in trials if trial.state == "failed")
    page.locator(f"#all tr[data-trial='{failed.number}']").click()
    assert "loss is nan at step 3 <b>" in page.locator("#panel").inner_text()


def test_a_phone_scrolls_one_way_only(opened):
    page, _ = opened
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.locator(".point").first.click(force=True)
    box = page.locator("#panel").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= PHONE["width"]


def test_dark_pages_have_light_figures(opened):
    page, _ = opened
    colours = {}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        colours[scheme] = page.evaluate(
            "[document.body, document.querySelector('figure svg text')].map((it, i) => "
            "getComputedStyle(it)[i ? 'fill' : 'backgroundColor'])"
        )
    assert colours["light"] == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"]
    assert colours["dark"] == ["rgb(22, 24, 28)", "rgb(255, 255, 255)"]
