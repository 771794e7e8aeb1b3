"""Names, paths, commands and errors that are markup: the report and the model card show them as text."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shlex
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from nas.results.export import export
from nas.results.pictures import ap_over_trials
from nas.results.report import write_report
from nas.search.reward import RewardConfig
from tests.support.made_up_run import made_up_run

pictures = pytest.importorskip("experiments.report_pictures")

EVIL = (
    "<img src=x onerror=alert(1)></script><script>alert(2)</script>\u2028'\"--><svg/onload=alert(3)>$\\frac{$[/x]&amp;"
)
IN_A_FILE_NAME = "<img src=x onerror=alert(4)>'[x]"
SVG_TAGS = {"svg", "g", "path", "use", "text", "tspan", "defs", "clippath", "rect"}
VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Elements outside of figures with the names of their attributes, those in figures, and what is in `script`s."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.outside: list[tuple[str, tuple[str, ...]]] = []
        self.inside: set[str] = set()
        self.attributes: set[str] = set()
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self.words: list[str] = []
        self.policy = ""
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.attributes |= {name for name, _ in attrs}
        if dict(attrs).get("http-equiv") == "Content-Security-Policy":
            self.policy = dict(attrs)["content"]
        if "svg" in [*self._open, tag]:
            self.inside.add(tag)
        else:
            self.outside.append((tag, tuple(name for name, _ in attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self._open.pop()

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] in self.raw:
            self.raw[self._open[-1]].append(data)
        else:
            self.words.append(data)


def made(path: Path, evil: str, command: list[str]):
    """A report in which every text that comes from outside is `evil`."""
    before, sys.argv = sys.argv, command
    try:
        run, config, trials = made_up_run(path, error=evil, name=evil, reward=RewardConfig(metric=f"AP/{evil}"))
    finally:
        sys.argv = before
    run.final.mkdir()
    standing = {"neck": evil, "mean": 1.0, "margin": None, "AP": [1.0], "channels": 8, "macs": 1e6, "params": 1e3}
    (run.final / "final.json").write_text(json.dumps({"steps": 5, "standings": [standing]}))
    return run, config, trials


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    return made(tmp_path_factory.mktemp("hostile") / IN_A_FILE_NAME, EVIL, ["nasfpn", "search", EVIL])


@pytest.fixture(scope="module")
def text(hostile):
    return write_report(*hostile).read_text(encoding="utf-8")


def test_the_page_has_no_element_and_no_attribute_but_the_templates(text, tmp_path):
    page = Page(text)
    harmless = Page(write_report(*made(tmp_path / "run", "cat", ["nasfpn", "search", "cat"])).read_text("utf-8"))
    assert page.outside == harmless.outside
    assert page.inside <= SVG_TAGS
    assert page.attributes == harmless.attributes
    assert not [name for name in page.attributes if name.startswith("on") or name == "style"]
    assert sum("<img src=x onerror=alert(1)>" in words for words in page.words) >= 8


def test_the_data_of_the_script_are_what_they_were(hostile, text):
    run, _, trials = hostile
    data, _ = Page(text).raw["script"]
    found = json.loads(data)
    shown = re.sub("\u2028", "\n", EVIL)
    assert shlex.split(found["trials"][0]["usage"][1])[2] == f"{run.path}:0"
    assert run.path.name == IN_A_FILE_NAME
    assert ["failed:", shown] in next(trial for trial in found["trials"] if trial["state"] == "failed")["facts"]
    assert {trial["facts"][0][0] for trial in found["trials"] if trial["state"] == "complete"} == {f"AP/{shown}"}
    assert len(found["trials"]) == len(trials)
    assert not re.search("[<>&\u2028\u2029]", data)


def test_the_policy_allows_the_script_and_the_style_of_this_page_alone(text):
    page = Page(text)
    allowed = dict(part.strip().split(" ", 1) for part in page.policy.split(";"))
    assert allowed["default-src"] == "'none'"
    assert (allowed["base-uri"], allowed["form-action"], allowed["img-src"]) == ("'none'", "'none'", "data:")
    for name, content in (("script", page.raw["script"][-1]), ("style", page.raw["style"][0])):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert allowed[f"{name}-src"] == f"'sha256-{digest}'"
    assert len(page.raw["style"]) == 1


@pytest.mark.skipif(pictures.find_chromium() is None, reason="needs Chromium")
def test_nothing_of_it_runs_in_a_browser(hostile, text):
    run, _, trials = hostile
    dialogs, complaints, requests = [], [], []
    with pictures.chromium() as browser:
        page = browser.new_page()
        page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto((run.report / "index.html").as_uri())
        page.locator("#all summary").click()
        for row in range(len(trials)):
            page.locator("#all tr[data-trial]").nth(row).hover()
            page.locator("#all tr[data-trial]").nth(row).click()
            page.keyboard.press("Escape")
        assert page.locator("img").count() == 0
        assert page.locator("#trials-search .point").count() >= 2
        assert complaints == []
        assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
        with page.expect_console_message() as refused:
            page.evaluate("document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/x.png'}))")
        assert "Content Security Policy" in refused.value.text
    assert dialogs == []


@pytest.mark.parametrize("name", ["$\\frac{$", "a $x^2$ b", "\\$", "_under", "x" * 5000])
def test_names_are_no_formulas_of_the_figures(hostile, name):
    _, _, trials = hostile
    drawn = io.StringIO()
    ap_over_trials(trials, name, f"AP/{name}").figure.savefig(drawn, format="svg")
    assert f"AP/{name}"[:30] in drawn.getvalue()
    assert f"best of {name}"[:30] in drawn.getvalue()


def test_the_model_card_shows_names_as_text(hostile, tmp_path):
    run, _, trials = hostile
    number = next(trial.number for trial in trials if trial.state == "complete")
    export(run, trials, tmp_path / IN_A_FILE_NAME, number)
    card = (tmp_path / IN_A_FILE_NAME / "README.md").read_text(encoding="utf-8")
    outside = re.sub(r"(?ms)^```python\n.*?^```$", "", card)
    outside = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", outside)
    assert "&lt;img src=x onerror=alert(1)&gt;" in outside
    assert "<" not in outside
    assert "[/x]" not in re.sub(r"\\.", "", outside)
    example = re.search(r"(?ms)^```python\n(.*?)^```$", card)[1]
    compile(example, "README.md", "exec")
