"""The command `vitcourse book`: build, then print, or serve to this machine alone, until Ctrl-C."""

import errno
import time
import webbrowser
from contextlib import nullcontext
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from rich.console import Console

from vitcourse.book.site import Site, build, find
from vitcourse.errors import RequestError, RunError
from vitcourse.files import require_ending, require_writable

HOST = "127.0.0.1"
USUAL_PORT = 8000


def show_book(console: Console, *, pdf: bool, file: Path | None, open_it: bool, port: int | None, serve: bool) -> None:
    """Build the book, and do with it what was asked for. Raises RequestError and RunError, each one line."""
    site = find()
    if pdf and file is not None:  # said before the minutes that it takes
        require_ending(file, ".pdf", "vitcourse book --pdf")
        require_writable(file)
    # The port before the work: that it is taken is said at once.
    served = server(site.output, port) if serve and not pdf else None

    def tell(text: str, uri: str) -> None:
        console.print(text, soft_wrap=True)
        if open_it:
            webbrowser.open(uri)

    try:
        with served or nullcontext():
            _build(console, site)
            if served is not None:
                tell(f"the book is at {address(served)} (Ctrl-C ends it)", address(served))
                served.serve_forever()
            made = _printed(console, site, file or site.build / "vitcourse.pdf") if pdf else site.output / "index.html"
            tell(str(made), made.resolve().as_uri())
    except KeyboardInterrupt as error:
        if served is None or not site.output.is_dir():
            raise RunError("stopped") from error
        console.print("")


def _build(console: Console, site: Site) -> None:
    began = time.monotonic()
    with console.status("building the book") as status:
        built = build(site, lambda page: status.update(f"building the book: {page}"))
    took = f"built in {time.monotonic() - began:.0f} s"
    console.print(took if built else "nothing has changed since it was built", soft_wrap=True)


def _printed(console: Console, site: Site, file: Path) -> Path:
    from vitcourse.book.pdf import write_pdf

    with console.status("printing the book"):
        write_pdf(site, file)
    return file


class _Handler(SimpleHTTPRequestHandler):
    """Files, without a line per request, and without a browser keeping pages that have been built anew."""

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()


def server(folder: Path, port: int | None) -> ThreadingHTTPServer:
    """A server of the folder on loopback, already listening. Raises RequestError when the port can't be had.

    Without a port it is the usual one, or, where that is taken, any that is free.
    """
    for candidate in (USUAL_PORT, 0) if port is None else (port,):
        try:
            return ThreadingHTTPServer((HOST, candidate), partial(_Handler, directory=str(folder)))
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            taken = "is taken" if error.errno == errno.EADDRINUSE else "is not yours to use"
    raise RequestError(f"port {port} {taken}; type another after --port, or leave --port out")


def address(server: ThreadingHTTPServer) -> str:
    """What to type into a browser."""
    return f"http://{HOST}:{server.server_address[1]}/"
