"""The server of `invgraph view`: what it gives out, and to whom."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from invgraph.cli import main
from invgraph.report.serve import ReportServer, open_browser, report_server

PAGE = b"<!DOCTYPE html><title>run</title>"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("served")
    (base / "secret.txt").write_text("secret")
    (base / "run-2").mkdir()
    (base / "run-2/metrics.json").write_text("secret")
    folder = base / "run"
    (folder / "renders").mkdir(parents=True)
    (folder / "report.html").write_bytes(PAGE)
    (folder / "metrics.json").write_text("{}")
    (folder / "flythrough.mp4").write_bytes(b"film")
    (folder / "recording.rrd").write_bytes(b"recording")
    (folder / "evil.html").write_text("<script>alert(1)</script>")
    (folder / ".hidden").write_text("secret")
    (folder / "renders/a b.png").write_bytes(b"png")
    (folder / "out.json").symlink_to(base / "secret.txt")
    (folder / "up").symlink_to(base)
    (folder / "in.json").symlink_to(folder / "metrics.json")
    os.mkfifo(folder / "pipe.json")
    return folder


@pytest.fixture(scope="module")
def server(run: Path) -> Iterator[ReportServer]:
    with report_server(run, 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(
    server: ReportServer, path: str, method: str = "GET", host: str | None = None
) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    try:
        connection.putrequest(method, path, skip_host=True)
        connection.putheader("Host", host or f"127.0.0.1:{server.server_port}")
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read(), dict(answer.getheaders())
    finally:
        connection.close()


def raw(server: ReportServer, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as link:
        link.sendall(request)
        link.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: link.recv(65536), b""))


def test_the_page_and_the_files_beside_it(server: ReportServer) -> None:
    for path in ("/", "/report.html", "/?x=1", "/report.html#a"):
        status, body, headers = ask(server, path)
        assert (status, body) == (200, PAGE), path
        assert headers["Content-Type"] == "text/html; charset=utf-8"
        assert headers["X-Content-Type-Options"] == "nosniff"
    for path, kind, body in (
        ("/metrics.json", "application/json", b"{}"),
        ("/in.json", "application/json", b"{}"),
        ("/flythrough.mp4", "video/mp4", b"film"),
        ("/renders/a%20b.png", "image/png", b"png"),
    ):
        status, got, headers = ask(server, path)
        assert (status, got, headers["Content-Type"]) == (200, body, kind)
    status, body, headers = ask(server, "/recording.rrd")
    assert (status, body, headers["Content-Disposition"]) == (200, b"recording", "attachment")


def test_other_pages_in_the_folder_do_not_run(server: ReportServer) -> None:
    status, _, headers = ask(server, "/evil.html")
    assert status == 200 and headers["Content-Type"] == "application/octet-stream"
    assert headers["Content-Disposition"] == "attachment"
    assert "sandbox" in headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/renders/../../secret.txt",
        "/renders/%2e%2e/%2e%2e/run-2/metrics.json",
        "/..\\secret.txt",
        "/out.json",
        "/up/secret.txt",
        "/up/run-2/metrics.json",
        "/pipe.json",
        "/.hidden",
        "/renders",
        "/renders/",
        "/absent",
        "/metrics.json/x",
        "/%00",
        "/" + "a" * 5000,
        "//etc/passwd",
        "///etc/passwd",
        "/%2fetc/passwd",
        "http://127.0.0.1/../secret.txt",
    ],
)
def test_nothing_else_is_given_out(server: ReportServer, path: str) -> None:
    for method in ("GET", "HEAD"):
        status, body, _ = ask(server, path, method)
        assert status == 404 and b"secret" not in body and b"root" not in body
    assert raw(server, b"GET /../secret.txt HTTP/1.1\r\nHost: x\r\n\r\n").startswith(
        b"HTTP/1.1 403"
    )


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "evil.example:{port}", "localhost:1"]
)
def test_other_names_of_this_computer_are_refused(server: ReportServer, host: str) -> None:
    status, body, _ = ask(server, "/", host=host.format(port=server.server_port))
    assert status == 403 and PAGE not in body
    assert ask(server, "/", host=f"localhost:{server.server_port}")[0] == 200
    ours = f"127.0.0.1:{server.server_port}".encode()
    twice = b"GET / HTTP/1.1\r\nHost: " + ours + b"\r\nHost: evil.example\r\n\r\n"
    for request in (twice, b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"):
        assert raw(server, request).startswith(b"HTTP/1.1 403")


def test_only_reading(server: ReportServer, run: Path) -> None:
    status, body, headers = ask(server, "/", "HEAD")
    assert (status, body, headers["Content-Length"]) == (200, b"", str(len(PAGE)))
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"):
        assert ask(server, "/metrics.json", method)[0] == 501
    assert (run / "metrics.json").read_text() == "{}"
    for noise in (b"\0\xff\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b""):
        assert PAGE not in raw(server, noise)
    assert ask(server, "/")[0] == 200


def test_only_this_computer_is_listened_to(server: ReportServer) -> None:
    assert server.server_address[0] == "127.0.0.1"


def test_what_cannot_be_served_is_said(
    run: Path, tmp_path: Path, server: ReportServer, capsys: pytest.CaptureFixture
) -> None:
    taken = str(server.server_port)
    for arguments, words in (
        ([str(tmp_path / "absent")], "is not a folder; pass the run folder"),
        ([str(tmp_path)], f"has no report.html; `invgraph report {tmp_path}` builds it"),
        ([str(run), "--port", "70000"], "expected a port from 0 to 65535 but got 70000"),
        ([str(run), "--port", taken], f"port {taken} of 127.0.0.1 cannot be had"),
    ):
        assert main(["view", *arguments, "--no-browser"]) == 2
        said = capsys.readouterr().err
        assert words in said and said.count("\n") == 1


def test_without_a_screen_no_browser_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: not opened.append(url))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert not open_browser("http://127.0.0.1:1/") and opened == []
    monkeypatch.setenv("DISPLAY", ":0")
    assert open_browser("http://127.0.0.1:1/") and opened == ["http://127.0.0.1:1/"]


def test_the_command_serves_until_ctrl_c(run: Path) -> None:
    command = [sys.executable, "-m", "invgraph.cli", "view", str(run), "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[0]
        port = int(url.rstrip("/").rpartition(":")[2])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/")
        assert connection.getresponse().read() == PAGE
        connection.close()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0 and said == ""
