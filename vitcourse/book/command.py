"""The command `vitcourse book`: build, then serve or print."""

import time
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from vitcourse.book import serve as serving
from vitcourse.book.site import Site, build, find
from vitcourse.errors import RequestError, RunError

if TYPE_CHECKING:
    from rich.console import Console


def show_book(
    console: "Console", *, pdf: bool, file: Path | None, open_it: bool, port: int | None, serve: bool
) -> None:
    """Build the book, and do with it what was asked for. Raises RequestError and RunError, each one line."""
    site = find()
    # The port before the work: that it is taken is said at once.
    server = serving.server(site.output, port) if serve and not pdf else None
    try:
        _build(console, site)
        if pdf:
            _print(console, site, file or site.build / "vitcourse.pdf", open_it)
        elif server is None:
            console.print(str(site.output / "index.html"), soft_wrap=True)
            if open_it:
                webbrowser.open((site.output / "index.html").as_uri())
        else:
            console.print(f"the book is at {serving.address(server)} (Ctrl-C ends it)", soft_wrap=True)
            if open_it:
                webbrowser.open(serving.address(server))
            server.serve_forever()
    except KeyboardInterrupt as error:
        if server is None or not site.output.is_dir():
            raise RunError("stopped") from error
        console.print("")
    finally:
        if server is not None:
            server.server_close()


def _build(console: "Console", site: Site) -> None:
    began = time.monotonic()
    with console.status("building the book") as status:
        built = build(site, lambda page: status.update(f"building the book: {page}"))
    if built:
        console.print(f"built in {time.monotonic() - began:.0f} s", soft_wrap=True)
    else:
        console.print("nothing has changed since it was built")


def _print(console: "Console", site: Site, file: Path, open_it: bool) -> None:
    from vitcourse.book.pdf import write_pdf

    if file.is_dir():
        raise RequestError(f"{file} is a folder; name a file")
    with console.status("printing the book"):
        write_pdf(site, file)
    console.print(str(file), soft_wrap=True)
    if open_it:
        webbrowser.open(file.resolve().as_uri())
