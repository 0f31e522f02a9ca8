"""Cameras for looking at a finished scene: an orbit, a fly-through, or those of a run."""

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from invgraph.geometry.camera import Camera
from invgraph.geometry.lens import Lens
from invgraph.geometry.transforms import apply, look_at
from invgraph.report.viewer_data import world_up
from invgraph.runs.reader import CameraRecord, read_cameras
from invgraph.scene import Scene

FIELD_OF_VIEW = math.radians(35)
ELEVATION = math.radians(20)
KEYS = 40  # photos that a fly-through passes at most
INWARD, UNEVEN = 0.7, 0.5


def cameras_of_run(run: Path, split: str) -> list[Camera]:
    """The cameras that took one split of a run's photos, in single precision.

    Raises:
        ValueError: ``cameras.json`` is missing or damaged, or has no such camera.
    """
    chosen = [pose for pose in read_cameras(run) if pose.split == split]
    if not chosen:
        raise ValueError(
            f"{run / 'cameras.json'} holds no {split} cameras; is this a finished run?"
        )
    return [pose.camera.to(torch.float32) for pose in chosen]


def orbit(scene: Scene, views: int, size: int, poses: list[CameraRecord]) -> list[Camera]:
    """Cameras around everything in a scene, evenly spaced and looking slightly down.

    Args:
        size: height and width, pixels.
        poses: cameras that photographed the scene; they say which way is up and where to begin.

    Raises:
        ValueError: the scene has no vertices.
    """
    centre, radius = _ball(scene)
    up = torch.from_numpy(world_up(poses))
    start = torch.from_numpy(poses[0].centre) - centre if poses else torch.tensor([0.0, 0.0, 1.0])
    east = start.double() - up * (start.double() @ up)
    if float(east.norm()) < 1e-6 * radius:
        east = torch.linalg.cross(up, torch.roll(up, 1))
    east = east / east.norm()
    north = torch.linalg.cross(up, east)
    distance = 1.05 * radius / math.sin(FIELD_OF_VIEW / 2)
    focal = torch.full((2,), size / 2 / math.tan(FIELD_OF_VIEW / 2))
    cameras = []
    for turn in np.arange(views) * (2 * math.pi / views):
        flat = east * math.cos(turn) + north * math.sin(turn)
        eye = centre + distance * (flat * math.cos(ELEVATION) + up * math.sin(ELEVATION))
        cameras.append(
            Camera(
                Lens(
                    focal=focal,
                    principal=torch.full((2,), size / 2),
                    height=size,
                    width=size,
                    near=1e-3 * distance,
                ),
                look_at(eye, centre, up).float(),
            )
        )
    return cameras


def fly_through(scene: Scene, views: int, size: int, poses: list[CameraRecord]) -> list[Camera]:
    """Cameras on a smooth path, for a film.

    What was photographed from all around is flown around. Elsewhere the path goes at constant speed
    through the places of the training photos, in their order and looking where they looked.

    Args:
        views: on the path.
        size: of the longer side, pixels; both sides are even.
        poses: cameras that photographed the scene.

    Raises:
        ValueError: the scene has no vertices.
    """
    keys = [pose for pose in poses if pose.split != "test"]
    keys = keys[:: -(-len(keys) // KEYS) or 1]
    if len(keys) < 2 or _surround(*_ball(scene), keys):
        return orbit(scene, views, 2 * (size // 2), poses)
    centres = np.array([pose.centre for pose in keys])
    axes = np.array([pose.camera_from_world[1:3, :3] for pose in keys])
    steps = np.linalg.norm(np.diff(centres, axis=0), axis=1)
    usual = float(np.median(steps)) or 1.0
    # A turn on the spot takes time as well.
    steps = steps / usual + np.linalg.norm(np.diff(axes[:, 1], axis=0), axis=1)
    apart = np.concatenate([[True], steps > 1e-6])
    if apart.sum() < 2:
        return orbit(scene, views, 2 * (size // 2), poses)
    from scipy.interpolate import PchipInterpolator

    times = np.concatenate([[0.0], np.cumsum(steps)])[apart]
    rows = np.concatenate([centres[:, None], axes], 1)[apart]
    when = np.linspace(0, times[-1], views)
    path = torch.from_numpy(PchipInterpolator(times, rows, axis=0)(when))
    eyes, down, ahead = path.unbind(1)
    lens = keys[0].camera.lens
    scale = size / max(lens.height, lens.width)
    height, width = (max(2, 2 * round(side * scale / 2)) for side in (lens.height, lens.width))
    return [
        Camera(
            Lens(
                focal=(lens.focal * scale).float(),
                principal=torch.tensor([width / 2, height / 2]),
                height=height,
                width=width,
                near=1e-3 * usual,
            ),
            look_at(eye, eye + usual * forward, -below).float(),
        )
        for eye, below, forward in zip(eyes, down, ahead, strict=True)
    ]


def _ball(scene: Scene) -> tuple[Tensor, float]:
    """Centre (float64) and radius of a ball around everything in a scene."""
    points = [
        apply(item.world_from_object, item.mesh.vertices)
        for item in scene.objects
        if len(item.mesh.vertices)
    ]
    if not points:
        raise ValueError("the scene has no vertices to look at; give --cameras.")
    cloud = torch.cat(points).double()
    centre = (cloud.amin(0) + cloud.amax(0)) / 2
    return centre, max(float((cloud - centre).norm(dim=-1).max()), 1e-6)


def _surround(centre: Tensor, radius: float, poses: list[CameraRecord]) -> bool:
    """Whether the cameras stand outside a ball, on all its sides, and look at it."""
    spokes = np.array([pose.centre for pose in poses]) - centre.numpy()
    distance = np.linalg.norm(spokes, axis=1, keepdims=True).clip(1e-9)
    forward = np.array([pose.camera_from_world[2, :3] for pose in poses])
    up = world_up(poses)
    flat = spokes - (spokes @ up)[:, None] * up
    flat = flat / np.linalg.norm(flat, axis=1, keepdims=True).clip(1e-9)
    return bool(
        np.median(distance) > radius
        and (forward * -spokes / distance).sum(1).mean() > INWARD
        and np.linalg.norm(flat.mean(0)) < UNEVEN
    )
