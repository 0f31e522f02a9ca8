"""What a fit leaves in its run folder: checkpoint, scene, cameras, scores."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from invgraph.data import Capture
from invgraph.data.point_files import encode_points
from invgraph.fitting.object.object_estimate import Estimate, with_visibility
from invgraph.fitting.object.previews import light_ball
from invgraph.fitting.object.scores import inliers, mean_scores, score_all
from invgraph.geometry.camera import stack
from invgraph.runs.folder import RunFolder
from invgraph.scene import Scene
from invgraph.scene.scene_files import save_scene


def write_checkpoint(
    folder: RunFolder, estimate: Estimate, generator: torch.Generator, facts: dict[str, Any]
) -> None:
    """Write what a resumed fit starts from, and the scene as it is.

    Args:
        generator: of the order of the photos.
        facts: how far the fit is; JSON.
    """
    tensors = {**estimate.state(), "generator": generator.get_state()}
    folder.save_state(tensors, {**facts, **estimate.facts()})
    with torch.no_grad():
        save_scene(with_visibility(estimate.scene(), None), folder.path)


@torch.no_grad()
def write_cameras(folder: RunFolder, capture: Capture, estimate: Estimate | None) -> None:
    """Write ``cameras.json``, as far as the estimate corrects the cameras.

    Args:
        estimate: None while there is none; the cameras are then as given.
    """
    held_out = set(capture.test)
    cameras = [frame.known_camera for frame in capture.frames]
    if estimate is not None:
        for row, i in enumerate(capture.train):
            cameras[i] = estimate.cameras(stack([cameras[i]]), [row])[0]
    folder.write_cameras(
        (frame.name, "test" if i in held_out else "train", camera)
        for i, (frame, camera) in enumerate(zip(capture.frames, cameras, strict=True))
    )


def write_scores(
    folder: RunFolder, capture: Capture, estimate: Estimate, outliers: Sequence[int]
) -> tuple[Scene, dict[str, Any]]:
    """Score held-out photos and write the scene, cameras, sparse points and pictures.

    Args:
        outliers: training photos whose masks contradict the others.

    Returns:
        The final scene, and what ``metrics.json`` says of it.
    """
    corrections = estimate.corrections
    estimate.refresh()
    with torch.no_grad():
        scene = estimate.scene()
    save_scene(scene, folder.path)
    write_cameras(folder, capture, estimate)
    if capture.points is not None and len(capture.points):
        folder.write("points.ply", encode_points(capture.points))
    views = score_all(estimate.scene_at, [(i, capture.frames[i]) for i in capture.test], folder)
    folder.picture("renders/light_ball.png", light_ball(scene))
    kept = inliers(views)
    return scene, {
        **mean_scores(views),
        "mask_iou_trusted": mean_scores(kept)["mask_iou"],
        "light_fixed_to": estimate.frame,
        "light_per_photo": estimate.per_image_light is not None,
        "camera_correction_deg": corrections.usual_deg if corrections is not None else 0.0,
        "outlier_masks": [capture.frames[capture.train[i]].name for i in outliers]
        + [view.name for view in views if view not in kept],
        "views": [{"split": "test", **asdict(view)} for view in views],
    }
