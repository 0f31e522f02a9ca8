"""Depth maps of held-out views in colours, under one scale bar."""

import base64
import io
from functools import cache
from html import escape

import numpy as np

from invgraph.data.depth_files import read_depth
from invgraph.report.charts import nice_ticks
from invgraph.runs.reader import ScoredView

SHOWN, SIDE = 12, 400
LEVELS = 255  # colours; one more index is "no surface"
WIDTH, HEIGHT = 480, 58


@cache
def colours() -> np.ndarray:
    """``LEVELS 3`` sRGB bytes from dark blue by red to light yellow.

    Lightness rises and neighbours are equally far apart in CIELAB, so that equal steps of depth
    look equal.
    """
    from skimage.color import lab2rgb

    part = np.linspace(0, 1, 2048)
    lightness = 24 + 68 * part
    hue = np.deg2rad(155 * part - 60)
    chroma = 40 + 10 * part + 16 * np.sin(np.pi * part)
    lab = np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], -1)
    way = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(lab, axis=0), axis=1))])
    even = np.linspace(0, way[-1], LEVELS)
    chosen = np.stack([np.interp(even, way, column) for column in lab.T], -1)
    return (lab2rgb(chosen[None])[0] * 255).round().astype(np.uint8)


def depth_section(views: list[ScoredView], missing: list[str]) -> str:
    """The maps of some views, near is light; empty without any.

    Args:
        missing: hears of files that are damaged.
    """
    maps: list[tuple[str, np.ndarray]] = []
    having = [view for view in views if "depth" in view.pictures]
    for view in having[:: max(1, -(-len(having) // SHOWN))]:
        try:
            levels, step = read_depth(view.pictures["depth"])
        except ValueError:
            name = view.pictures["depth"].name
            missing.append(f"renders/{name} (a depth map): the file is damaged")
            continue
        shrink = -(-max(levels.shape) // SIDE)
        maps.append((view.name, levels[::shrink, ::shrink] * step))
    covered = [depth[depth > 0] for _, depth in maps]
    if not sum(len(values) for values in covered):
        return ""
    near, far = (float(x) for x in np.percentile(np.concatenate(covered), (0.5, 99.5)))
    far = max(far, near * (1 + 1e-6))
    figures = "".join(
        f'<figure><img alt="Depth of {escape(name)}" src="{_picture(depth, near, far)}">'
        f"{escape(name)}</figure>"
        for name, depth in maps
    )
    return f"""<section aria-labelledby="depth-title"><h2 id="depth-title">Depth</h2>
<p class="hint">Of the fitted surface at held-out photos, along the optical axis, in the unit of
the cameras' positions.</p>
<div class="maps">{figures}</div>{scale_bar(near, far)}</section>"""


def scale_bar(near: float, far: float) -> str:
    """The colours from ``near`` to ``far`` with ticks, as inline SVG."""
    stops = "".join(
        f'<stop offset="{i / 16:.4f}" stop-color="rgb({",".join(map(str, colour))})"/>'
        for i, colour in enumerate(colours()[np.linspace(LEVELS - 1, 0, 17).round().astype(int)])
    )
    left, right = 24, WIDTH - 24
    ticks = "".join(
        f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="16" y2="21"/>'
        f'<text x="{x:.1f}" y="34" text-anchor="middle">{value:g}</text>'
        for value in nice_ticks(near, far)
        for x in [left + (value - near) / (far - near) * (right - left)]
    )
    return (
        f'<svg class="chart scale" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="Colours of depth from {near:.4g} to {far:.4g} world units">'
        f'<defs><linearGradient id="depth-colours">{stops}</linearGradient></defs>'
        f'<rect x="{left}" y="2" width="{right - left}" height="14" rx="2" '
        f'fill="url(#depth-colours)"/>{ticks}'
        f'<text class="label" x="{WIDTH / 2}" y="{HEIGHT - 5}" text-anchor="middle">'
        "Depth (world units)</text></svg>"
    )


def _picture(depth: np.ndarray, near: float, far: float) -> str:
    """A PNG data URI; transparent where there is no surface."""
    from PIL import Image

    part = np.clip((far - depth) / (far - near), 0, 1)
    indices = np.where(depth > 0, (part * (LEVELS - 1)).round(), LEVELS).astype(np.uint8)
    image = Image.fromarray(indices).convert("P")
    image.putdata(indices.ravel().tolist())
    image.putpalette(np.concatenate([colours(), [[0, 0, 0]]]).astype(np.uint8).tobytes())
    data = io.BytesIO()
    image.save(data, "PNG", transparency=LEVELS, optimize=True)
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()
