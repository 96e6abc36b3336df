"""Settings of the whole test set.

`oracle`, `strategies` and `chromium` can be imported from any test: pytest puts this folder on the path because this
file is in it.
"""

import os

import pytest
from chromium import BROWSER
from hypothesis import HealthCheck, settings

COMMON = {"deadline": None, "max_examples": 60, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("dev", **COMMON)
settings.register_profile("ci", derandomize=True, print_blob=True, **COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


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
