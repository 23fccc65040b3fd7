"""Pages in a browser, as the tests of explorables look at them."""

from typing import Any

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 375, "height": 700}


def frames(page: Any) -> None:
    """Wait until what was asked for is drawn."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
