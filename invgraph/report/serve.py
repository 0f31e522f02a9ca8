"""A run folder's report in the browser of this computer, and of no other."""

import os
import shutil
import sys
import webbrowser
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

HOST = "127.0.0.1"
PAGE = "report.html"
# What a browser may show; everything else is offered for download.
SHOWN = {
    ".json": "application/json",
    ".csv": "text/plain; charset=utf-8",
    ".png": "image/png",
    ".mp4": "video/mp4",
}
PATIENCE_S = 10.0  # for a request that does not come


class ReportServer(ThreadingHTTPServer):
    """Serves one folder on 127.0.0.1; used as a context.

    Args:
        root: the folder, resolved.
        port: 0 takes a free one.
    """

    daemon_threads = True

    def __init__(self, root: Path, port: int) -> None:
        self.root = root
        super().__init__((HOST, port), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that went away is no news; anything else is our mistake and is shown."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    @property
    def url(self) -> str:
        """Where the report is."""
        return f"http://{HOST}:{self.server_port}/"


def report_server(run: Path, port: int) -> ReportServer:
    """A server, bound but not yet serving, of a run's report.

    Args:
        run: the folder that a fit wrote.
        port: to listen on; 0 takes a free one.

    Raises:
        ValueError: ``run`` has no report, or the port cannot be had.
    """
    if not run.is_dir():
        raise ValueError(f"{run} is not a folder; pass the run folder that `invgraph fit` wrote.")
    if not (run / PAGE).is_file():
        raise ValueError(f"{run} has no {PAGE}; `invgraph report {run}` builds it.")
    if not 0 <= port <= 65535:
        raise ValueError(f"expected a port from 0 to 65535 but got {port}; change --port.")
    try:
        return ReportServer(run.resolve(), port)
    except OSError as error:
        raise ValueError(
            f"port {port} of {HOST} cannot be had ({error.strerror}); choose another --port or "
            "leave it out."
        ) from error


def open_browser(url: str) -> bool:
    """Open a page in the default browser; False where there is no screen for one."""
    screen = sys.platform in ("darwin", "win32") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
    return screen and webbrowser.open(url)


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD; any other method gets 501 from the base class."""

    server: ReportServer  # type: ignore[assignment]
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "invgraph", ""
    timeout = PATIENCE_S

    def do_GET(self) -> None:
        found = self._found()
        if found is None:
            return
        with found:
            shutil.copyfileobj(found, self.wfile)

    def do_HEAD(self) -> None:
        found = self._found()
        if found is not None:
            found.close()

    def _found(self) -> BinaryIO | None:
        """The file that is asked for, after its headers were sent; or the refusal was."""
        names = {f"{host}:{self.server.server_port}" for host in (HOST, "localhost")}
        # A page elsewhere may have its own name resolve to 127.0.0.1, but cannot hide that name.
        if self.headers.get_all("Host") not in [[name] for name in names]:
            self._refuse(HTTPStatus.FORBIDDEN)
            return None
        path = self._path()
        try:
            file = None if path is None else path.open("rb")
        except OSError:
            file = None
        if path is None or file is None:
            self._refuse(HTTPStatus.NOT_FOUND)
            return None
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Length", str(os.fstat(file.fileno()).st_size))
        if path == self.server.root / PAGE:
            self.send_header("Content-Type", "text/html; charset=utf-8")
        else:
            kind = SHOWN.get(path.suffix.lower(), "application/octet-stream")
            self.send_header("Content-Type", kind)
            self.send_header("Content-Security-Policy", "default-src 'none'; sandbox")
            if path.suffix.lower() not in SHOWN:
                self.send_header("Content-Disposition", "attachment")
        self.end_headers()
        return file

    def _path(self) -> Path | None:
        """The file of the run that the request names; None when there is no such file."""
        name = unquote(urlsplit(self.path).path).lstrip("/") or PAGE
        parts = name.split("/")
        if any(part.startswith(".") or "\\" in part or "\0" in part for part in parts):
            return None
        try:
            path = (self.server.root / name).resolve()
            served = path.is_relative_to(self.server.root) and path.is_file()
        except (OSError, RuntimeError):  # too long, or links in a circle
            return None
        return path if served else None

    def _refuse(self, status: HTTPStatus) -> None:
        text = f"{status.value} {status.phrase}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def end_headers(self) -> None:
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Frame-Options", "DENY")
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not news."""
