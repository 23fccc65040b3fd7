"""Finds the Chromium that prints the book and tests its pages."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from vitcourse.errors import RunError, first_line

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
ELSEWHERE = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)
MISSING = (
    "no Chromium or Chrome was found; install one (Debian, Ubuntu: sudo apt-get install chromium), "
    "or name it: export VITCOURSE_CHROMIUM=/path/to/it"
)


def executable() -> Path:
    """The browser's program: what VITCOURSE_CHROMIUM names, else one of the usual ones.

    Raises RunError, with what to type, when there is none.
    """
    chosen = os.environ.get("VITCOURSE_CHROMIUM")
    if chosen:
        if Path(chosen).is_file():
            return Path(chosen)
        raise RunError(f"VITCOURSE_CHROMIUM names {chosen}, which is no file; {MISSING}")
    for name in NAMES:
        found = shutil.which(name)
        if found:
            return Path(found)
    for path in ELSEWHERE:
        if Path(path).is_file():
            return Path(path)
    raise RunError(MISSING)


@contextmanager
def launch() -> "Iterator[Browser]":
    """A headless browser, without Playwright's own download of one. Raises RunError when it can't be had."""
    if find_spec("playwright") is None:
        raise RunError("Playwright, which drives the browser, is not installed; type: uv sync")
    program = executable()
    from playwright.sync_api import Error, sync_playwright

    # As root, which containers are, Chromium has no sandbox; it only ever opens our own pages.
    options = ["--no-sandbox"] if sys.platform != "win32" and os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=program, args=options)
        except Error as error:
            raise RunError(f"{program} doesn't start: {first_line(error)}") from error
        try:
            yield browser
        finally:
            browser.close()
