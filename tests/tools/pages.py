"""Pages in a browser, as the tests of the book and of explorables look at them."""

from typing import Any

from vitcourse.book import parts

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 375, "height": 700}


def watched(page: Any) -> Any:
    """The page, which keeps what it asked for and what it complained of."""
    page.asked, page.complaints = [], []

    def complain(really: bool, what: str) -> None:
        if really:
            page.complaints.append(what)

    page.on("request", lambda request: page.asked.append(request.url))
    # A page that is left lets go of what it still waits for, its icon say.
    page.on("requestfailed", lambda r: complain(r.failure != "net::ERR_ABORTED", f"failed: {r.url}, {r.failure}"))
    page.on("response", lambda answer: complain(answer.status >= 400, f"{answer.status}: {answer.url}"))
    page.on("pageerror", lambda error: complain(True, f"script: {error}"))
    page.on("console", lambda said: complain(said.type in ("error", "warning"), said.text))
    return page


def outside(page: Any, base: str) -> list[str]:
    """The requests that left the site, or the file."""
    return [url for url in page.asked if not url.startswith((base, "data:", "blob:"))]


def faults(page: Any) -> list[str]:
    """What axe finds in it."""
    from axe_playwright_python.sync_playwright import Axe

    return [
        f"{violation['id']}: {node['target']} {node.get('failureSummary', '')[:300]}"
        for violation in Axe().run(page).response["violations"]
        for node in violation["nodes"]
    ]


def with_parts(page: Any, names: str, *files: str) -> Any:
    """The page, in which functions of these parts are at hand, without the page that they make."""
    script = f"{parts.script(*files)}\nObject.assign(window, {{ {names} }});"
    page.set_content(f'<script type="module">{script}</script>')
    page.wait_for_function(f"window.{names.split(', ')[-1]} !== undefined")
    return page


def frames(page: Any) -> None:
    """Wait until what was asked for is drawn."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
