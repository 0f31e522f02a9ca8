"""The report: one self-contained HTML page made from the files of a run folder."""

import base64
import hashlib
import json
from html import escape
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from invgraph.files import write_atomically
from invgraph.report.attachments import attachments_section
from invgraph.report.camera_map import camera_map
from invgraph.report.charts import Axis, line_chart
from invgraph.report.depth_view import depth_section
from invgraph.report.model import light_matrices, read_points, viewer_data
from invgraph.report.pictures import data_uris, picture_size
from invgraph.report.run_folder import RunFolder, View, finite, read_run
from invgraph.report.words import describe, duration, number
from invgraph.scene_files import load_scene

VIEWS_SHOWN = 24
PREVIEWS_SHOWN = 6
ITEMS_SHOWN = 6
# Bytes of the page: comparisons, the mesh, and the smaller pictures; together below 15 MB.
COMPARISON_BUDGET = 6_500_000
MODEL_BUDGET = 5_000_000
SMALL_BUDGET = 600_000

COMPARED = ("photo", "render", "difference")
HEADLINES = ("psnr_mask_db", "ssim_mask", "mask_iou", "seconds")


def write_report(run: Path) -> Path:
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
    scripts: list[str] = []
    missing = list(folder.missing)
    points = read_points(folder, missing)
    sections = [
        _comparison(folder, scripts),
        _viewer(folder, points, scripts, missing),
        attachments_section(folder),
        depth_section([view for view in folder.views if view.split != "train"], missing),
        _curves(folder),
        _light_and_cameras(folder, points, missing),
        _previews(folder),
        _details(folder),
    ]
    page = Template(_resource("page.html")).substitute(
        title=escape(str(folder.metrics.get("capture") or run.resolve().name)),
        lead=_lead(folder),
        notices=_notices(folder, missing),
        tiles=_tiles(folder),
        sections="\n".join(section for section in sections if section),
        style=_resource("style.css"),
        scripts="\n".join(scripts),
        policy=_policy(),
        version=escape(_version()),
    )
    target = run / "report.html"
    write_atomically(target, page.encode())
    return target


def _resource(name: str) -> str:
    return files("invgraph.report").joinpath(name).read_text(encoding="utf-8")


def _version() -> str:
    try:
        return version("invgraph")
    except PackageNotFoundError:
        return "(not installed)"


def _policy() -> str:
    """Only our two scripts run and nothing is loaded: a second wall behind the escaping."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(_resource(name).encode()).digest()).decode()}'"
        for name in ("compare.js", "viewer.js")
    )
    return (
        f"default-src 'none'; img-src data: blob:; media-src data:; style-src 'unsafe-inline'; "
        f"script-src {hashes}; base-uri 'none'; form-action 'none'"
    )


def _script(name: str, data_id: str, data: Any) -> str:
    """A script and the data it reads; the data cannot close its element whatever it holds."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return (
        f'<script type="application/json" id="{data_id}">{text}</script>\n'
        f"<script>{_resource(name)}</script>"
    )


def _lead(folder: RunFolder) -> str:
    held_out = sum(pose.split == "test" for pose in folder.poses)
    if not folder.poses:
        return "A scene found by descending through the renderer until its renders match photos."
    return (
        f"A scene found by descending through the renderer until its renders match "
        f"{len(folder.poses) - held_out} photos. The {held_out} held-out photos below were never "
        "used, and nothing was tuned to them."
    )


def _notices(folder: RunFolder, missing: list[str]) -> str:
    if not missing:
        return ""
    items = "".join(f"<li>{escape(item)}</li>" for item in missing)
    return (
        '<div class="notice" role="status"><strong>This run is not complete.</strong> '
        "<code>invgraph fit</code> with <code>--resume</code> goes on with it. Missing:"
        f"<ul>{items}</ul></div>"
    )


def _tiles(folder: RunFolder) -> str:
    tiles = []
    for key in HEADLINES:
        value = finite(folder.metrics.get(key))
        if value is None:
            continue
        label, unit = describe(key)
        text = duration(value) if key == "seconds" else number(value, unit)
        small = f" <small>{escape(unit)}</small>" if unit and key != "seconds" else ""
        tiles.append(f"<div><dt>{escape(label)}</dt><dd>{text}{small}</dd></div>")
    return f'<dl class="tiles">{"".join(tiles)}</dl>' if tiles else ""


def _shown(views: list[View]) -> list[View]:
    """Held-out views with pictures, at most ``VIEWS_SHOWN`` spread evenly."""
    held_out = [view for view in views if view.pictures and view.split != "train"]
    step = max(1, -(-len(held_out) // VIEWS_SHOWN))
    return held_out[::step]


def _comparison(folder: RunFolder, scripts: list[str]) -> str:
    views = _shown(folder.views)
    roles = [(view, role) for view in views for role in COMPARED if role in view.pictures]
    uris = data_uris([view.pictures[role] for view, role in roles], COMPARISON_BUDGET)
    records: dict[str, dict[str, Any]] = {}
    for (view, role), uri in zip(roles, uris, strict=True):
        records.setdefault(view.name, {"name": view.name, **_captions(view)})[role] = uri
    shown = [record for record in records.values() if record["photo"] and record["render"]]
    if not shown:
        return ""
    for record in shown:
        record["size"] = picture_size(record["photo"])
    scripts.append(_script("compare.js", "compare-data", shown))
    total = sum(view.split != "train" for view in folder.views)
    some = f" {len(shown)} of {total} are shown." if total > len(shown) else ""
    return f"""<section id="compare" aria-labelledby="compare-title">
<h2 id="compare-title">Held-out photos</h2>
<p class="hint">Drag across the picture, or focus it and use the arrow keys.
The difference is magnified.{some}</p>
<div class="stage"><img class="left" alt=""><img class="right" alt="">
<span class="edge"></span><span class="tag photo">Photo</span><span class="tag other"></span>
<input type="range" min="0" max="100" value="50" step="0.5"
 aria-label="Share of the picture that shows the photo">
</div>
<div class="bar"><button type="button" data-role="render">Render</button>
<button type="button" data-role="difference">Difference</button><span class="push"></span></div>
<div class="strip" role="group" aria-label="Choose a photo"></div>
<noscript><p class="hint">The comparison needs JavaScript.</p></noscript>
</section>"""


def _captions(view: View) -> dict[str, str]:
    scores = []
    for key, value in view.scores.items():
        label, unit = describe(key)
        scores.append(f"{label} {number(value, unit)} {unit}".strip())
    psnr = view.scores.get("psnr_mask_db")
    return {
        "caption": " · ".join([view.name, *scores[:3]]),
        "short": f"{psnr:.1f} dB" if psnr is not None else view.name[:12],
    }


def _viewer(folder: RunFolder, points: np.ndarray, scripts: list[str], missing: list[str]) -> str:
    if folder.glb is None:
        return ""
    try:
        light = light_matrices(load_scene(folder.path).lights)
    except ValueError as error:
        light = None
        missing.append(f"scene.json (the exact scene): {error}")
    try:
        data = viewer_data(folder.glb, folder.poses, points, light, MODEL_BUDGET)
    except ValueError as error:
        missing.append(f"scene.glb (the reconstructed mesh): {error}")
        return ""
    scripts.append(_script("viewer.js", "viewer-data", data))
    cameras = (
        '<button type="button" data-cameras aria-pressed="false">Cameras</button>'
        if folder.poses
        else ""
    )
    dots = (
        '<button type="button" data-points aria-pressed="false">Sparse points</button>'
        if len(points)
        else ""
    )
    lit = "Recovered light" if data["light"] else "Studio light"
    return f"""<section id="viewer" aria-labelledby="viewer-title">
<h2 id="viewer-title">The mesh</h2>
<p class="hint">Drag to turn, scroll or pinch to zoom; or focus it and use the arrow keys, +, −.</p>
<div class="canvas">
<canvas tabindex="0" role="img" aria-label="The reconstructed mesh in 3D"></canvas>
<p class="viewer-note"></p></div>
<div class="bar"><button type="button" data-mode="0" aria-pressed="true">{lit}</button>
<button type="button" data-mode="1" aria-pressed="false">Albedo only</button>
<button type="button" data-mode="2" aria-pressed="false">Shape only</button>
{cameras}{dots}<button type="button" data-reset>Reset</button></div>
</section>"""


def _curves(folder: RunFolder) -> str:
    rows = folder.log
    charts = []
    longest = max((finite(row["seconds"]) or 0.0 for row in rows), default=0.0)
    unit, scale = ("min", 60.0) if longest > 180 else ("s", 1.0)
    for key, axis in (("psnr_db", Axis("PSNR", "dB")), ("loss", Axis("Loss", log=True))):
        points = [
            (seconds / scale, value, str(row.get("stage") or ""))
            for row in rows
            if (seconds := finite(row["seconds"])) is not None
            and (value := finite(row.get(key))) is not None
        ]
        if points:
            x, y, stages = zip(*points, strict=True)
            charts.append(line_chart(x, y, stages, Axis("Time", unit), axis))
    charts = [chart for chart in charts if chart]
    if not charts:
        return ""
    return f"""<section aria-labelledby="curves-title"><h2 id="curves-title">Curves</h2>
<p class="hint">On the training photos of each step: thin as logged, thick smoothed.
Dashed lines separate the stages.</p>
<div class="pair">{"".join(charts)}</div></section>"""


def _light_and_cameras(folder: RunFolder, points: np.ndarray, missing: list[str]) -> str:
    boxes = []
    if folder.light_ball is not None:
        [ball] = data_uris([folder.light_ball], SMALL_BUDGET)
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


def _previews(folder: RunFolder) -> str:
    step = max(1, -(-len(folder.previews) // PREVIEWS_SHOWN))
    # Counted from the end, so that the last one is always there.
    chosen = folder.previews[::-1][::step][::-1]
    uris = data_uris([path for _, path in chosen], SMALL_BUDGET)
    figures = "".join(
        f'<figure><img alt="Preview at step {number}" src="{uri}">step {number}</figure>'
        for (number, _), uri in zip(chosen, uris, strict=True)
        if uri
    )
    if not figures:
        return ""
    return (
        '<section aria-labelledby="previews-title"><h2 id="previews-title">How it came about</h2>'
        f'<div class="strip">{figures}</div></section>'
    )


def _details(folder: RunFolder) -> str:
    rows, scores = [], ""
    for key, value in folder.metrics.items():
        if key in HEADLINES or key in ("views", "capture"):
            continue
        label, unit = describe(key)
        scalar = None if isinstance(value, str) else finite(value)
        if scalar is not None:
            text = escape(f"{number(scalar, unit)} {unit}")
        elif isinstance(value, str | bool):
            text = escape(str(value))
        elif isinstance(value, list) and value and all(isinstance(item, str) for item in value):
            text = _listed(value)
        else:
            continue
        rows.append(f"<tr><td>{escape(label)}</td><td>{text}</td></tr>")
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
    if not (rows or scores):
        return ""
    table = f"<div class='scroll'><table>{''.join(rows)}</table></div>" if rows else ""
    return f"<section><h2>In numbers</h2>{table}{scores}</section>"


def _listed(items: list[str]) -> str:
    """Items that fold away when they are many."""
    text = escape("; ".join(items))
    if len(items) <= ITEMS_SHOWN:
        return text
    return f"<details><summary>{len(items)}</summary>{text}</details>"


def _header(key: str) -> str:
    label, unit = describe(key)
    return f"{label} ({unit})" if unit else label


def _cell(view: View, key: str) -> str:
    value = view.scores.get(key)
    return "–" if value is None else number(value, describe(key)[1])
