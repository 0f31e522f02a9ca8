"""The report of an object that was followed through photos."""

import math
from collections.abc import Callable
from html import escape
from pathlib import Path

import numpy as np

from invgraph.data.object_pose_files import PoseRow, read_hypotheses, read_rows
from invgraph.report.attachments import film_player, rerun_link
from invgraph.report.charts import Axis, line_chart
from invgraph.report.comparison import comparison_section
from invgraph.report.layout import Page, numbers_table
from invgraph.report.pose_map import track_map
from invgraph.report.viewer import viewer_section
from invgraph.runs.reader import HYPOTHESES, RunContents

HEADLINES = ("found", "lost", "score_median", "seconds_per_frame")
ROWS_SHOWN, AMBIGUOUS_SHOWN = 2000, 40
COLUMNS = ("x mm", "y mm", "z mm", "1σ mm", "1σ °", "hypotheses", "s")


def write_track_page(folder: RunContents) -> Path:
    """Build ``report.html`` of a run with a table of poses, and give its path.

    Raises:
        OSError: the table cannot be read.
    """
    missing = list(folder.missing)
    rows: list[PoseRow] = []
    if folder.track is None:
        missing.append("poses.csv (the poses)")
    else:
        try:
            rows = read_rows(folder.track)
        except ValueError:
            missing.append("poses.csv (the poses): the file is damaged")
    if folder.metrics.get("complete") is False:
        total = folder.metrics.get("photos")
        missing.append(f"poses.csv has {len(rows)} of {total} photos; the film comes at the end")
    page = Page(folder, _lead(folder, rows), missing)
    page.sections += [
        _film(folder),
        comparison_section(page, "Photos and renders"),
        _path(rows),
        _curves(rows),
        _ambiguous(folder, rows),
        viewer_section(page, np.zeros((0, 3), np.float32)),
        _details(folder, rows),
    ]
    return page.write(HEADLINES)


def _lead(folder: RunContents, rows: list[PoseRow]) -> str:
    name = escape(str(folder.metrics.get("object") or "An object"))
    found = sum(row.found for row in rows)
    return (
        f"{name}: found in {found} of {len(rows)} photos by comparing renders of its model with "
        "them. Every pose has a covariance; where the photo confirms none, the object is lost."
    )


def _film(folder: RunContents) -> str:
    film = film_player(
        folder.film,
        "The photos with the outline of the model, beside what it leaves unexplained",
        "Left, the outline of the model at its pose, with its axes (x red, y green, z blue). "
        "Right, the magnified difference between photo and render; orange is covered by something "
        "else.",
        "No film yet: <code>invgraph fit</code> with <code>--resume</code> makes it.",
    )
    log = rerun_link(folder.rerun_log, "Photos, mesh, poses and uncertainty")
    return (
        '<section class="film" aria-labelledby="film-title"><h2 id="film-title">Where it is</h2>'
        f"{film}{log}</section>"
    )


def _path(rows: list[PoseRow]) -> str:
    drawing = track_map(rows)
    if not drawing:
        return ""
    return (
        '<section aria-labelledby="path-title"><h2 id="path-title">Its path</h2>'
        '<p class="hint">The origin of the object in the frame of the camera, both to one scale. '
        '<span class="key train">first</span> &nbsp; <span class="key test">last</span></p>'
        f"{drawing}</section>"
    )


def _curves(rows: list[PoseRow]) -> str:
    quantities: tuple[tuple[Callable[[PoseRow], float], Axis, bool], ...] = (
        (lambda row: row.score, Axis("Score"), False),
        (lambda row: row.sigma_mm, Axis("1σ of the position", "mm"), True),
        (lambda row: row.sigma_deg, Axis("1σ of the rotation", "°"), True),
    )
    charts = []
    for value, axis, only_found in quantities:
        points = [
            (index, value(row), "" if row.found else "lost")
            for index, row in enumerate(rows)
            if math.isfinite(value(row)) and (row.found or not only_found)
        ]
        if points:
            x, y, stages = zip(*points, strict=True)
            charts.append(line_chart(x, y, stages, Axis("Photo"), axis, smooth=False))
    charts = [chart for chart in charts if chart]
    if not charts:
        return ""
    return (
        '<section aria-labelledby="curves-title"><h2 id="curves-title">Score and uncertainty</h2>'
        '<p class="hint">The score is how much of what the pose predicts the photo confirms. 1σ is '
        "the standard deviation, of all three axes together. "
        f'Dashed lines are where the object was lost or found.</p><div class="pair">'
        f"{''.join(charts)}</div></section>"
    )


def _ambiguous(folder: RunContents, rows: list[PoseRow]) -> str:
    """The photos that more than one pose explains, with all of their poses."""
    hypotheses = read_hypotheses(folder.path / HYPOTHESES)
    shown = [row.frame for row in rows if row.found and len(hypotheses.get(row.frame, [])) > 1]
    if not shown:
        return ""
    lines = []
    for frame in shown[:: -(-len(shown) // AMBIGUOUS_SHOWN)]:
        best = hypotheses[frame][0][1]
        for rank, (weight, pose) in enumerate(hypotheses[frame]):
            turn = (np.trace(pose[:3, :3] @ best[:3, :3].T) - 1) / 2
            angle = math.degrees(math.acos(np.clip(turn, -1, 1)))
            shift = 1e3 * float(np.linalg.norm(pose[:3, 3] - best[:3, 3]))
            name = escape(frame) if rank == 0 else ""
            lines.append(
                f"<tr><td>{name}</td><td>{weight:.2f}</td><td>{angle:.1f}</td>"
                f"<td>{shift:.1f}</td></tr>"
            )
    many = "1 photo is" if len(shown) == 1 else f"{len(shown)} photos are"
    return (
        '<section aria-labelledby="hypotheses-title">'
        '<h2 id="hypotheses-title">More than one hypothesis</h2>'
        f'<p class="hint">{many} explained by several poses, because the object '
        "is symmetric or shows too little. Turn and shift are from the first one.</p>"
        f"<details><summary>Answers</summary><div class='scroll'><table><tr><th>Photo</th>"
        f"<th>weight</th><th>turn °</th><th>shift mm</th></tr>{''.join(lines)}</table></div>"
        "</details></section>"
    )


def _details(folder: RunContents, rows: list[PoseRow]) -> str:
    table = numbers_table(folder.metrics, (*HEADLINES, "views", "capture", "object"))
    poses = ""
    if rows:
        step = -(-len(rows) // ROWS_SHOWN)
        head = "".join(f"<th>{name}</th>" for name in ("", "score", *COLUMNS))
        body = "".join(_line(row) for row in rows[::step])
        some = "" if step == 1 else f", every {step}th"
        poses = (
            f"<details><summary>Poses in {len(rows)} photos{some}</summary><div class='scroll'>"
            f"<table><tr><th>Photo</th>{head}</tr>{body}</table></div></details>"
        )
    if not (table or poses):
        return ""
    return f"<section><h2>In numbers</h2>{table}{poses}</section>"


def _line(row: PoseRow) -> str:
    x, y, z = 1e3 * row.pose[:3, 3]
    where = (
        (f"{x:.1f}", f"{y:.1f}", f"{z:.1f}", f"{row.sigma_mm:.2f}", f"{row.sigma_deg:.2f}")
        if row.found
        else ("–",) * 5
    )
    cells = (f"{row.score:.3f}", *where, str(row.hypotheses), f"{row.seconds:.2f}")
    rest = "".join(f"<td>{cell}</td>" for cell in cells)
    return f"<tr><td>{escape(row.frame)}</td><td>{'found' if row.found else 'lost'}</td>{rest}</tr>"
