"""``invgraph report``: the page of a run, built again."""

from pathlib import Path
from typing import Annotated

import tyro


def report(run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")], /) -> None:
    """Build report.html again from the files of a run folder, finished or not.

    The fly-through (flythrough.mp4) and the rerun log (recording.rrd) are made
    as well where the folder lacks one, which takes about half a minute.

    Typical use:
        invgraph report runs/my_photos

    Args:
        run: the folder that `invgraph fit` wrote.
    """
    from invgraph.report import write_report
    from invgraph.report.attachments import complete_attachments
    from invgraph.runs.folder import locked, read_run_file

    read_run_file(run)
    with locked(run):
        complete_attachments(run)
        print(write_report(run))
