"""The report: one self-contained HTML page made from the files of a run folder."""

from html import escape
from pathlib import Path

import numpy as np

from invgraph.report.attachments import attachments_section
from invgraph.report.camera_map import camera_map
from invgraph.report.charts import Axis, line_chart
from invgraph.report.comparison import comparison_section
from invgraph.report.depth_view import depth_section
from invgraph.report.layout import Page, numbers_table
from invgraph.report.measures import describe, number
from invgraph.report.odometry_page import write_odometry_page
from invgraph.report.pictures import data_uris
from invgraph.report.pose_page import write_track_page
from invgraph.report.previews import previews_section
from invgraph.report.scene_page import write_scene_page
from invgraph.report.viewer import viewer_section
from invgraph.report.viewer_data import read_points
from invgraph.runs.reader import RunContents, ScoredView, finite, read_run

LIGHT_BUDGET = 600_000  # bytes
_LEARNS = "A network that learns from raw recordings, without labels."
# What is said about runs of networks, and about their previews.
_NETWORKS = {
    "depth": (
        _LEARNS,
        "Rows of a held-out photo; its depth, near is light; and how unsure that is, unsure is "
        "light.",
    ),
    "encoder": (
        _LEARNS,
        "Rows of a held-out view and those that the encoder finds most like it; the other view of "
        "its pair has a green frame.",
    ),
    "scene": (
        "A network that learns to infer scenes without labels, from images of which it knows what "
        "is in them: it dreamt them.",
        "Below each image the scene that the encoder believes to see. From above: dreams that it "
        "did not learn from, the worst of more of these and, late in the training, photos.",
    ),
    "inference": ("What a network says about a video.", ""),
}
HEADLINES = ("psnr_mask_db", "ssim_mask", "mask_iou", "seconds")


def write_report(run: str | Path) -> Path:
    """Build ``report.html`` from what the run folder holds, complete or not.

    Args:
        run: the folder that a fit wrote; only files inside it are read.

    Returns:
        The page's path. It replaces an older page at once or not at all.

    Raises:
        ValueError: ``run`` is not a folder, or holds nothing that a fit writes.
    """
    run = Path(run)
    folder = read_run(run)
    if folder.kind == "pose":
        return write_track_page(folder)
    if folder.kind == "scenes":
        return write_scene_page(folder)
    if folder.kind == "odometry":
        return write_odometry_page(folder)
    if folder.kind in _NETWORKS:
        return _write_network_page(folder)
    page = Page(folder, _lead(folder), list(folder.missing))
    points = read_points(folder, page.missing)
    page.sections += [
        comparison_section(page, "Held-out photos"),
        viewer_section(page, points),
        attachments_section(folder),
        depth_section([view for view in folder.views if view.split != "train"], page.missing),
        _curves(folder),
        _light_and_cameras(folder, points, page.missing),
        previews_section(folder),
        _details(folder),
    ]
    return page.write(HEADLINES)


def _write_network_page(folder: RunContents) -> Path:
    """The page of a run whose scene is a network's: its curves, previews and numbers."""
    lead, hint = _NETWORKS[folder.kind]
    page = Page(folder, lead, list(folder.missing))
    page.sections += [_curves(folder), previews_section(folder, hint=hint), _details(folder)]
    return page.write(("held_out", "steps", "frames", "seconds"))


def _lead(folder: RunContents) -> str:
    held_out = sum(pose.split == "test" for pose in folder.poses)
    if not folder.poses:
        return "A scene found by descending through the renderer until its renders match photos."
    return (
        f"A scene found by descending through the renderer until its renders match "
        f"{len(folder.poses) - held_out} photos. The {held_out} held-out photos below were never "
        "used, and nothing was tuned to them."
    )


def _curves(folder: RunContents) -> str:
    rows = folder.log
    charts = []
    longest = max((finite(row["seconds"]) or 0.0 for row in rows), default=0.0)
    time, scale = (Axis("Time", "min"), 60.0) if longest > 180 else (Axis("Time", "s"), 1.0)
    for key, label, unit in (
        ("psnr_db", "PSNR", "dB"),
        ("loss", "Loss", ""),
        ("held_out", "Held-out loss", ""),
    ):
        points = [
            (seconds / scale, value, str(row.get("stage") or ""))
            for row in rows
            if (seconds := finite(row["seconds"])) is not None
            and (value := finite(row.get(key))) is not None
        ]
        if points:
            x, y, stages = zip(*points, strict=True)
            # Logarithms of densities are losses, too, and may be below 0.
            axis = Axis(label, unit, log=not unit and min(y) > 0)
            charts.append(line_chart(x, y, stages, time, axis))
    charts = [chart for chart in charts if chart]
    if not charts:
        return ""
    return f"""<section aria-labelledby="curves-title"><h2 id="curves-title">Curves</h2>
<p class="hint">On the training images of each step: thin as logged, thick smoothed.
Dashed lines separate the stages.</p>
<div class="pair">{"".join(charts)}</div></section>"""


def _light_and_cameras(folder: RunContents, points: np.ndarray, missing: list[str]) -> str:
    boxes = []
    if folder.light_ball is not None:
        [ball] = data_uris([folder.light_ball], LIGHT_BUDGET)
        if ball:
            boxes.append(
                '<div><h2>The light</h2><p class="hint">As it falls on a ball.</p>'
                f'<img class="ball" alt="A ball under the recovered light" src="{ball}"></div>'
            )
        else:
            missing.append("renders/light_ball.png (the light): the file is damaged")
    drawing = camera_map(folder.poses, points)
    if drawing:
        boxes.append(
            '<div><h2>The cameras</h2><p class="hint"><span class="key train">training</span> '
            '&nbsp; <span class="key test">held out</span>; the line goes through them in the '
            f"order of the photos.</p>{drawing}</div>"
        )
    if not boxes:
        return ""
    return f'<section class="{"side" if len(boxes) == 2 else ""}">{"".join(boxes)}</section>'


def _details(folder: RunContents) -> str:
    table = numbers_table(folder.metrics, (*HEADLINES, "views", "capture"))
    scores = ""
    keys = list(dict.fromkeys(key for view in folder.views for key in view.scores))
    scored = [view for view in folder.views if view.scores]
    if scored:
        head = "".join(f"<th>{escape(_header(key))}</th>" for key in keys)
        body = "".join(
            f"<tr><td>{escape(view.name)}</td><td>{escape(view.split)}</td>"
            + "".join(f"<td>{_cell(view, key)}</td>" for key in keys)
            + "</tr>"
            for view in scored
        )
        scores = (
            f"<details><summary>Scores of {len(scored)} photos</summary><div class='scroll'>"
            f"<table><tr><th>Photo</th><th>Split</th>{head}</tr>{body}</table></div></details>"
        )
    if not (table or scores):
        return ""
    return f"<section><h2>In numbers</h2>{table}{scores}</section>"


def _header(key: str) -> str:
    label, unit = describe(key)
    return f"{label} ({unit})" if unit else label


def _cell(view: ScoredView, key: str) -> str:
    value = view.scores.get(key)
    return "–" if value is None else number(value, describe(key)[1])
