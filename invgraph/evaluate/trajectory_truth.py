"""The measured motion of a capture's camera: for evaluation only."""

import torch

from invgraph.data.capture import Capture
from invgraph.data.trajectory_files import Trajectory
from invgraph.geometry.transforms import invert


def true_trajectory(capture: Capture, *, clock: bool = True) -> Trajectory:
    """The poses that another instrument measured, or that come with the photos.

    This uses labels, so nothing that estimates may read it. Frames without a pose are left out.

    Args:
        capture: whose ``truth.poses`` are known; without, the cameras of its frames are taken.
        clock: use the recording's times where all frames have one; else times are the indices of
            the frames.

    Raises:
        ValueError: the capture has no poses, or its times do not increase.
    """
    poses = capture.truth.poses if capture.truth is not None else ()
    if not poses and capture.has_cameras:
        poses = tuple(frame.known_camera.camera_from_world for frame in capture.frames)
    kept = [index for index, pose in enumerate(poses) if pose is not None]
    if not kept:
        raise ValueError(
            f"{capture.name} has no measured poses; give a capture with them, such as 7-Scenes, "
            "TUM RGB-D or KITTI with its poses, or a trajectory file."
        )
    times = [frame.time for frame in capture.frames]
    stamps = [float(index) for index in range(len(times))]
    if clock and all(time is not None for time in times):
        stamps = [float(time) for time in times if time is not None]
    matrices = [pose.double() for pose in poses if pose is not None]
    return Trajectory(
        invert(torch.stack(matrices)),
        torch.tensor([stamps[index] for index in kept], dtype=torch.float64),
    )
