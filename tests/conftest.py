"""Settings of the whole test set.

`oracle`, `strategies` and `chromium` can be imported from any test: pytest puts this folder on the path because this
file is in it.
"""

import os
import re

import pytest
from chromium import BROWSER
from hypothesis import HealthCheck, settings

COMMON = {"deadline": None, "max_examples": 60, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("dev", **COMMON)
settings.register_profile("ci", derandomize=True, print_blob=True, **COMMON)
settings.register_profile("fast", derandomize=True, **{**COMMON, "max_examples": 10})
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


WHOLLY_SLOW = re.compile(r"^pytestmark = .*mark\.slow|^    pytest\.mark\.slow,$", re.MULTILINE)


def pytest_ignore_collect(collection_path, config):
    """Only files with tests are imported, and with `-m "not slow"` none that is slow as a whole: imports take time."""
    if collection_path.suffix != ".py":
        return None
    if not collection_path.name.startswith("test_"):
        return True
    skipped = config.option.markexpr == "not slow" and WHOLLY_SLOW.search(collection_path.read_text(encoding="utf-8"))
    return True if skipped else None


@pytest.fixture(scope="module")
def browser():
    """A browser that playwright drives; a test that asks for it is marked `needs_browser`."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright drives the browser: pip install playwright"
    )
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def silent_page(browser):
    """``silent_page(path, ready)``: the file in the browser, once ``ready`` is there; it has to stay silent."""
    pages, said = [], []

    def open_page(path, ready, **options):
        page = browser.new_page(**{"viewport": {"width": 1280, "height": 1000}, **options})
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(path.resolve().as_uri())
        page.wait_for_selector(ready)
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert said == []
