"""Serves the built book to this machine alone, until Ctrl-C."""

import errno
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from vitcourse.errors import RequestError

HOST = "127.0.0.1"
USUAL_PORT = 8000


class _Handler(SimpleHTTPRequestHandler):
    """Files, without a line per request, and without a browser keeping pages that have been built anew."""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()


def server(folder: Path, port: int | None) -> ThreadingHTTPServer:
    """A server of the folder on loopback, already listening. Raises RequestError when the port can't be had.

    Without a port it is the usual one, or, where that is taken, any that is free.
    """
    handler = partial(_Handler, directory=str(folder))
    for candidate in (USUAL_PORT, 0) if port is None else (port,):
        try:
            return _Server((HOST, candidate), handler)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            taken = "is taken" if error.errno == errno.EADDRINUSE else "is not yours to use"
    raise RequestError(f"port {port} {taken}; type another after --port, or leave --port out")


class _Server(ThreadingHTTPServer):
    daemon_threads = True  # a page still loading doesn't hold up Ctrl-C
    allow_reuse_address = True


def address(server: ThreadingHTTPServer) -> str:
    """What to type into a browser."""
    return f"http://{HOST}:{server.server_address[1]}/"
