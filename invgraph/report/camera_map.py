"""Camera positions as an inline SVG: the scene from above and from the side, to one scale."""

from html import escape

import numpy as np

from invgraph.report.viewer_data import world_up
from invgraph.runs.reader import CameraRecord

WIDTH, HEIGHT, PAD = 300, 260, 22
POINTS = 1500
FEW = 40  # cameras that can be told apart as dots


def camera_map(poses: list[CameraRecord], points: np.ndarray) -> str:
    """Draw each camera as a dot with a stroke in its viewing direction; empty without cameras.

    Args:
        poses: in the order of the photos; a line goes through them.
        points: sparse points, ``n 3``; some are drawn, where they are within the picture.
    """
    if not poses:
        return ""
    up = world_up(poses)
    side = np.eye(3)[np.argmin(np.abs(up))]
    right = np.cross(side, up)
    right /= np.linalg.norm(right)
    away = np.cross(up, right)
    centres = np.array([pose.centre for pose in poses])
    forward = np.array([pose.camera_from_world[2, :3] for pose in poses])
    target = _nearest_point(centres, forward)
    panels = []
    radius = 3.5 if len(poses) <= FEW else 1.8
    span = max(float(np.abs(centres - target).max()), 1e-9) * 1.1
    for offset, (title, horizontal, vertical) in enumerate(
        (("from above", right, away), ("from the side", right, up))
    ):
        axes = np.stack([horizontal, -vertical])
        scale = (min(WIDTH, HEIGHT) / 2 - PAD) / span
        middle = np.array([WIDTH * (offset + 0.5), HEIGHT / 2])
        dots = (centres - target) @ axes.T * scale + middle
        specks = (points[:: max(1, len(points) // POINTS)] - target) @ axes.T * scale
        specks = specks[(np.abs(specks) < (WIDTH / 2 - 4, HEIGHT / 2 - 4)).all(1)] + middle
        ends = dots + forward @ axes.T * 14
        marks = "".join(
            f'<g class="{"test" if pose.split == "test" else "train"}"><title>{escape(pose.name)}'
            f'</title><line x1="{a[0]:.1f}" y1="{a[1]:.1f}" x2="{b[0]:.1f}" y2="{b[1]:.1f}"/>'
            f'<circle cx="{a[0]:.1f}" cy="{a[1]:.1f}" r="{radius}"/></g>'
            for pose, a, b in sorted(
                zip(poses, dots, ends, strict=True), key=lambda item: item[0].split == "test"
            )
        )
        x, y = middle
        panels.append(
            f'<path class="specks" d="{"".join(f"M{a:.1f} {b:.1f}h0" for a, b in specks)}"/>'
            f'<polyline class="path" points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in dots)}"/>'
            f'<path class="shape" d="M{x - 6} {y}H{x + 6}M{x} {y - 6}V{y + 6}"/>{marks}'
            f'<text x="{x}" y="{HEIGHT - 4}" text-anchor="middle">{title}</text>'
        )
    return (
        f'<svg class="chart map" viewBox="0 0 {2 * WIDTH} {HEIGHT}" role="img" '
        f'aria-label="Positions of {len(poses)} cameras, from above and from the side">'
        f"{''.join(panels)}</svg>"
    )


def _nearest_point(centres: np.ndarray, forward: np.ndarray) -> np.ndarray:
    """The point closest to all optical axes; the cameras' mean when the axes are parallel."""
    planes = np.eye(3) - forward[:, :, None] * forward[:, None, :]
    total = planes.sum(0)
    if np.linalg.cond(total) > 1e6:
        return centres.mean(0)
    return np.linalg.solve(total, (planes @ centres[:, :, None]).sum(0))[:, 0]
