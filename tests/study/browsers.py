"""Debian's chromium, driven through Playwright; what needs it is skipped where it is not there."""

import shutil

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def browser():
    if BROWSER is None:
        pytest.skip("no browser is found: neither chromium, chromium-browser nor google-chrome is on PATH")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield found
        found.close()


def opened(browser, path, width, scheme="light", **settings):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **settings)
    page = context.new_page()
    page.mistakes = []
    page.on("pageerror", lambda error: page.mistakes.append(str(error)))
    page.on(
        "request", lambda request: page.mistakes.append(request.url) if not request.url.startswith(("file:", "data:")) else None
    )
    page.goto(path.as_uri())
    return page
