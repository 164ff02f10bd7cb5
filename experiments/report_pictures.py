"""Photograph a report as a browser shows it: ``python experiments/report_pictures.py REPORT.html docs/images``.

Takes a campaign's report (``runs/NAME/report.html``) or an atlas (``neurofault atlas --report``). Needs Debian's ``chromium`` and ``pip install playwright``. Writes
``report-1280.png`` (light) and ``report-390.png`` (dark), from the curves on, or ``atlas-1280.png`` and ``atlas-390.png``, from the chip on.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright


def main(report: Path, folder: Path) -> None:
    """Write the two pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for width, scheme in ((1280, "light"), (390, "dark")):
            page = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme).new_page()
            page.goto(report.absolute().as_uri())
            page.wait_for_selector("html[data-ready]")
            name = "atlas" if page.locator("#atlas-chip-explorer").count() else "report"
            chip, first = ("atlas-chip", "atlas-chip") if name == "atlas" else ("chip", "accuracy1")
            page.locator(f"#{chip}-explorer .cores path").last.click()
            if name == "report":
                page.locator("#accuracy1-explorer .points path").last.focus()
            page.locator("section", has=page.locator(f"#{first}-explorer")).first.evaluate("section => section.scrollIntoView()")
            page.screenshot(path=folder / f"{name}-{width}.png")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
