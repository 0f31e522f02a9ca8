"""Cameras for looking at a finished scene: an orbit around it, or those of a run."""

import math
from pathlib import Path

import numpy as np
import torch

from invgraph.camera import Camera
from invgraph.report.model import world_up
from invgraph.report.run_folder import Pose, read_poses
from invgraph.scene import Scene
from invgraph.transforms import apply, look_at

FIELD_OF_VIEW = math.radians(35)
ELEVATION = math.radians(20)


def cameras_of_run(run: Path, split: str) -> list[Camera]:
    """The cameras that took one split of a run's photos, without lens distortion.

    Raises:
        ValueError: ``cameras.json`` is missing or damaged, or has no such camera.
    """
    chosen = [pose for pose in read_poses(run) if pose.split == split]
    if not chosen:
        raise ValueError(
            f"{run / 'cameras.json'} holds no {split} cameras; is this a finished run?"
        )
    return [_camera(pose) for pose in chosen]


def orbit(scene: Scene, views: int, size: int, poses: list[Pose]) -> list[Camera]:
    """Cameras around everything in a scene, evenly spaced and looking slightly down.

    Args:
        size: height and width, pixels.
        poses: cameras that photographed the scene; they say which way is up and where to begin.

    Raises:
        ValueError: the scene has no vertices.
    """
    points = [
        apply(item.world_from_object, item.mesh.vertices)
        for item in scene.objects
        if len(item.mesh.vertices)
    ]
    if not points:
        raise ValueError("the scene has no vertices to look at; give --cameras.")
    cloud = torch.cat(points).double()
    low, high = cloud.amin(0), cloud.amax(0)
    centre = (low + high) / 2
    radius = max(float((cloud - centre).norm(dim=-1).max()), 1e-6)
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
                camera_from_world=look_at(eye, centre, up).float(),
                focal=focal,
                principal=torch.full((2,), size / 2),
                height=size,
                width=size,
                near=1e-3 * distance,
            )
        )
    return cameras


def _camera(pose: Pose) -> Camera:
    return Camera(
        camera_from_world=torch.from_numpy(pose.camera_from_world).float(),
        focal=torch.tensor(pose.focal),
        principal=torch.tensor(pose.principal),
        height=pose.size[0],
        width=pose.size[1],
    )
