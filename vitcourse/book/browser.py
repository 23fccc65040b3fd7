"""Starts the Chromium that prints the book and tests its pages."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from vitcourse.errors import RunError, first_line

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Where there is none of these, Playwright knows the usual places of Chrome and Edge.
NAMES = ("chromium", "chromium-browser", "google-chrome")
CURE = (
    "install Chromium or Chrome (Debian, Ubuntu: sudo apt-get install chromium), "
    "or name one: export VITCOURSE_CHROMIUM=/path/to/it"
)


@contextmanager
def launch() -> "Iterator[Browser]":
    """A headless browser, without Playwright's own download of one. Raises RunError when it can't be had."""
    if find_spec("playwright") is None:
        raise RunError("Playwright, which drives the browser, is not installed; type: uv sync")
    from playwright.sync_api import Error, sync_playwright

    found = os.environ.get("VITCOURSE_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    channel = None if found else "msedge" if sys.platform == "win32" else "chrome"
    # As root, which containers are, Chromium has no sandbox; it only ever opens our own pages.
    options = ["--no-sandbox"] if sys.platform != "win32" and os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=found, channel=channel, args=options)
        except Error as error:
            raise RunError(f"{found or channel} doesn't start: {first_line(error)}; {CURE}") from error
        try:
            yield browser
        finally:
            browser.close()
