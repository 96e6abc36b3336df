"""A real browser for the tests of pages; they skip themselves where there is none."""

import shutil
import subprocess

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--enable-logging=stderr",
    "--virtual-time-budget=5000", "--window-size=1280,2400", "--dump-dom",
]  # fmt: skip

needs_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium, chromium-browser or google-chrome on the path")


def opened(path, profile):
    """The page after its scripts ran, and what they wrote to the console."""
    command = [BROWSER, *FLAGS, f"--user-data-dir={profile}", path.resolve().as_uri()]
    result = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    return result.stdout, [line for line in result.stderr.splitlines() if "CONSOLE" in line]
