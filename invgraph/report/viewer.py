"""The mesh of a run to turn and to look at."""

import numpy as np

from invgraph.report.layout import Page
from invgraph.report.viewer_data import light_matrices, viewer_data
from invgraph.scene.scene_files import load_scene

BUDGET = 5_000_000  # bytes


def viewer_section(page: Page, points: np.ndarray) -> str:
    """The mesh of a run in 3D; empty without one.

    Args:
        points: sparse points, ``n 3``.
    """
    folder, missing = page.folder, page.missing
    if folder.glb is None:
        return ""
    try:
        light = light_matrices(load_scene(folder.path).lights)
    except ValueError as error:
        light = None
        missing.append(f"scene.json (the exact scene): {error}")
    try:
        data = viewer_data(folder.glb, folder.poses, points, light, BUDGET)
    except ValueError as error:
        missing.append(f"scene.glb (the reconstructed mesh): {error}")
        return ""
    page.script("viewer.js", "viewer-data", data)
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
