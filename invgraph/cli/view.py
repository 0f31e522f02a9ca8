"""``invgraph view``: the page of a run in a browser."""

import contextlib
from pathlib import Path
from typing import Annotated

import tyro


def view(
    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
    /,
    port: int = 0,
    browser: bool = True,
) -> None:
    """Show the report of a run in a browser; Ctrl-C ends it.

    Only this computer can reach the page: it is served on 127.0.0.1, read-only, and nothing outside
    of the run folder is given out. From another computer, forward the port through ssh:
    ssh -L 8000:127.0.0.1:8000 HOST, with `invgraph view RUN --port 8000 --no-browser` there.

    Typical uses:
        invgraph view runs/my_photos
        invgraph view runs/my_photos --port 8000 --no-browser

    Args:
        run: the folder that `invgraph fit` wrote.
        port: to listen on; 0 takes a free one.
        browser: open the page in the default browser, where there is a screen.
    """
    from invgraph.report.serve import open_browser, report_server

    with contextlib.suppress(KeyboardInterrupt), report_server(run, port) as server:
        print(f"{server.url}  (Ctrl-C ends)", flush=True)
        if browser:
            open_browser(server.url)
        server.serve_forever()
