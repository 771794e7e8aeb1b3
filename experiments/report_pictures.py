"""Pictures of a report, as the README and the documentation show them.

`python -m experiments.report_pictures runs/signs`, after `make search`; needs Chromium (Debian's package `chromium`).
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
NAMES = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDE, PHONE = {"width": 1000, "height": 1250}, {"width": 390, "height": 844}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--out", type=Path, default=PICTURES)
    arguments = parser.parse_args()
    address = (arguments.run_dir / "report" / "index.html").resolve().as_uri()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        page = browser.new_page(viewport=WIDE)  # type: ignore[arg-type]
        page.goto(address)
        page.screenshot(path=arguments.out / "report.png")
        page.locator("#macs-search .point").last.click(force=True)
        page.screenshot(path=arguments.out / "report_trial.png")
        phone = browser.new_page(viewport=PHONE, color_scheme="dark")  # type: ignore[arg-type]
        phone.goto(address)
        phone.screenshot(path=arguments.out / "report_phone.png")


def find_chromium() -> str | None:
    """Where it is installed, if it is."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window; it asks the network for nothing of its own."""
    path = find_chromium()
    if path is None:
        raise SystemExit("there is no Chromium; on Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(OPTIONS))
        yield browser
        browser.close()


if __name__ == "__main__":
    main()
