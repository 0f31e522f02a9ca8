"""The report of a run that found how a camera moved."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from invgraph.geometry.camera import Camera
from invgraph.report.attachments import rerun_link
from invgraph.report.camera_map import camera_map
from invgraph.report.charts import Axis, line_chart
from invgraph.report.depth_view import LEVELS, colours
from invgraph.report.layout import Page, numbers_table
from invgraph.report.previews import previews_section
from invgraph.report.viewer_data import read_points
from invgraph.runs.reader import RunContents, finite

_HEADLINES = ("placed", "frames", "focal_px", "seconds")
_CELL = 12  # pixels: the nearest point of a cell hides what is much farther
_HIDDEN = 1.15  # times as far
_DIM = 0.4
_EXTREMES = (0.02, 0.98)  # quantiles of inverse depth that take the first and the last colour


def write_odometry_page(folder: RunContents) -> Path:
    """Build ``report.html`` of an odometry run, complete or not."""
    lead = (
        "How the camera moved, found from the pictures of a video alone. "
        "The unit of length is the usual depth: one camera cannot tell metres."
    )
    page = Page(folder, lead, list(folder.missing))
    points = read_points(folder, page.missing)
    drawing = camera_map(folder.poses, points)
    if drawing:
        log = rerun_link(folder.rerun_log, "Path, points and photos")
        page.sections.append(
            '<section aria-labelledby="path-title"><h2 id="path-title">The path</h2>'
            '<p class="hint">Each camera with its viewing direction; dots are points on the '
            f"surfaces that it saw.</p>{drawing}{log}</section>"
        )
    words = "Points on the surfaces, over photos; near is light."
    page.sections += [
        previews_section(folder, "What it was found by", "frame", words),
        _curve(folder),
    ]
    table = numbers_table(folder.metrics, _HEADLINES)
    page.sections.append(f"<section><h2>In numbers</h2>{table}</section>" if table else "")
    return page.write(_HEADLINES)


def _curve(folder: RunContents) -> str:
    values = [(i, finite(row.get("difference"))) for i, row in enumerate(folder.log)]
    known = [(i, value) for i, value in values if value is not None]
    if not known:
        return ""
    x, y = zip(*known, strict=True)
    chart = line_chart(x, y, [""] * len(x), Axis("Frame"), Axis("Difference"), smooth=False)
    if not chart:
        return ""
    return (
        '<section aria-labelledby="curves-title"><h2 id="curves-title">How well frames agree</h2>'
        '<p class="hint">Per placed frame, the usual difference between a pattern of pixels in it '
        "and in other frames, of 255 levels. Peaks are frames to distrust.</p>"
        f"{chart}</section>"
    )


def draw_points(
    photo: UInt8[np.ndarray, "h w 3"], camera: Camera, points: Float[Tensor, "n 3"]
) -> UInt8[np.ndarray, "h w 3"]:
    """A dimmed grey photo with the points it sees, near is light.

    Points that others nearby would hide are left out.

    Args:
        photo: sRGB.
        camera: of the photo, at any size.
        points: world frame.
    """
    height, width = photo.shape[:2]
    picture = np.repeat((_DIM * photo.mean(-1, keepdims=True)).astype(np.uint8), 3, -1)
    pixels, depth = camera.resize(height, width).project(points)
    inside = (pixels >= 1) & (pixels < pixels.new_tensor([width - 1, height - 1]))
    chosen = (depth > camera.near) & inside.all(-1)
    if not chosen.any():
        return picture
    pixels, depth = pixels[chosen].long(), depth[chosen]
    cells = (pixels[:, 1] // _CELL) * (width // _CELL + 1) + pixels[:, 0] // _CELL
    nearest = depth.new_full((int(cells.max()) + 1,), torch.inf)
    nearest = nearest.scatter_reduce(0, cells, depth, "amin")
    seen = depth < _HIDDEN * nearest[cells]
    (column, row), inverse = pixels[seen].numpy().T, 1 / depth[seen].numpy()
    low, high = np.quantile(inverse, _EXTREMES)
    level = np.clip((inverse - low) / max(high - low, 1e-9), 0, 1) * (LEVELS - 1)
    ink = colours()[level.round().astype(int)]
    order = np.argsort(inverse)  # the nearest last, over the others
    for down in (-1, 0, 1):
        for across in (-1, 0, 1):
            picture[row[order] + down, column[order] + across] = ink[order]
    return picture
