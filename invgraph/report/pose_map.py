"""The path of an object before the camera, as an inline SVG."""

import numpy as np

from invgraph.data.object_pose_files import PoseRow
from invgraph.report.charts import nice_ticks

WIDTH, HEIGHT, PAD = 300, 270, 24
FOOT = 44  # pixels below the drawing


def track_map(rows: list[PoseRow]) -> str:
    """Draw where the object's origin was found; empty if it never was.

    One panel is from above, one as the camera sees it, both to one scale. The line is interrupted
    where the object was lost.
    """
    found = np.array([row.pose[:3, 3] for row in rows if row.found])
    if not len(found):
        return ""
    low, high = found.min(0), found.max(0)
    span = max(float((high - low).max()), 1e-6)
    scale = min(WIDTH, HEIGHT - FOOT) - 2 * PAD
    length = nice_ticks(0, 0.5 * span, 2)[1]
    panels = []
    views = (("from above, the camera below", 2, -1), ("as the camera sees it", 1, 1))
    for offset, (title, axis, sign) in enumerate(views):
        middle = np.array([WIDTH * (offset + 0.5), (HEIGHT - FOOT) / 2])
        dots = (found - (low + high) / 2)[:, [0, axis]] * (1, sign) * scale / span + middle
        lines = "".join(
            f'<polyline class="path" points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in part)}"/>'
            for part in _parts(rows, dots)
        )
        ends = "".join(
            f'<circle class="{kind}" cx="{a:.1f}" cy="{b:.1f}" r="4.5"/>'
            for kind, (a, b) in (("train", dots[0]), ("test", dots[-1]))
        )
        x, y, bar = WIDTH * offset + PAD, HEIGHT - FOOT + 14, length * scale / span
        panels.append(
            f'{lines}{ends}<path class="shape" d="M{x} {y}h{bar:.1f}"/>'
            f'<text x="{x + bar + 8:.1f}" y="{y + 4}">{1e3 * length:g} mm</text>'
            f'<text x="{WIDTH * (offset + 0.5)}" y="{HEIGHT - 5}" '
            f'text-anchor="middle">{title}</text>'
        )
    return (
        f'<svg class="chart map track" viewBox="0 0 {2 * WIDTH} {HEIGHT}" role="img" '
        f'aria-label="Path of the object through {len(found)} photos, from above and as the '
        f'camera sees it">{"".join(panels)}</svg>'
    )


def _parts(rows: list[PoseRow], dots: np.ndarray) -> list[np.ndarray]:
    """The points of each uninterrupted part of the path."""
    parts: list[list[np.ndarray]] = [[]]
    at = iter(dots)
    for row in rows:
        if row.found:
            parts[-1].append(next(at))
        elif parts[-1]:
            parts.append([])
    return [np.array(part) for part in parts if part]
