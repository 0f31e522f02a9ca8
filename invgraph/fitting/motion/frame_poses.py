"""Poses of the frames between keyframes."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from invgraph.fitting.cameras.colmap_engine import load_engine
from invgraph.fitting.motion.alignment import Points, State, align_pose
from invgraph.fitting.motion.pyramids import Pyramid

_HOSTS = 3  # nearest keyframes in time that a frame is compared with
_LEVELS = (1, 0)
_STEPS = 8
_FEW = 12  # points, below which they say nothing about a pose
_OUTLIER_PX = 2.0


def pose_from_points(
    points: Float[np.ndarray, "n 3"],
    places: Float[np.ndarray, "n 2"],
    focal: float,
    bend: float,
) -> Float[np.ndarray, "4 4"] | None:
    """Pose of a frame that sees known points, by random samples; None if they do not agree.

    Args:
        points: world frame.
        places: on the first lens' image plane, times ``focal``.
        focal: pixels.
        bend: radial distortion k1.
    """
    if len(points) < _FEW:
        return None
    engine = load_engine()
    # The engine wants a picture's size; nothing here depends on it.
    camera = engine.Camera(model="SIMPLE_RADIAL", width=1, height=1, params=[focal, 0.0, 0.0, bend])
    options = engine.AbsolutePoseEstimationOptions()
    options.ransac.max_error = _OUTLIER_PX
    options.ransac.random_seed = 0
    options.ransac.max_num_trials = 500
    found = engine.estimate_and_refine_absolute_pose(places, points, camera, options)
    if found is None or found["num_inliers"] < _FEW:
        return None
    pose = np.eye(4)
    pose[:3] = np.asarray(found["cam_from_world"].matrix())
    return pose


def align_frame(
    keyframes: State,
    pyramids: list[Pyramid],
    picture: Pyramid,
    start: Float[np.ndarray, "4 4"],
    order: np.ndarray,
) -> tuple[Float[np.ndarray, "4 4"], float]:
    """Pose of a frame by comparing it with the nearest keyframes.

    Args:
        keyframes: aligned.
        pyramids: of the keyframes.
        picture: the frame's.
        start: camera_from_world.
        order: keyframes, the nearest in time first.

    Returns:
        camera_from_world, and the median difference of a pattern's levels, 0 to 255; infinite if
        nothing is seen.
    """
    hosts = order[:_HOSTS]
    points = _points_of(keyframes.points, hosts)
    state = State(np.concatenate((keyframes.poses[hosts], start[None])), keyframes.lens, points)
    energies = np.zeros((0, 1))
    for level in _LEVELS:
        if level >= len(picture):
            continue
        images = np.stack([*(pyramids[host][level] for host in hosts), picture[level]])
        state, energies = align_pose(state, len(hosts), images, 1 << level, _STEPS)
    return state.poses[-1], difference(energies)


def difference(energies: Float[np.ndarray, "n m"]) -> float:
    """Root of the median mean square of what is seen (not negative); infinite if nothing is."""
    seen = energies[energies >= 0]
    return float(np.sqrt(np.median(seen))) if len(seen) else np.inf


def _points_of(points: Points, hosts: np.ndarray) -> Points:
    """The points of some hosts, to be looked for in one more frame."""
    spans = [np.arange(int(points.starts[host]), int(points.starts[host + 1])) for host in hosts]
    chosen = np.concatenate(spans)
    plain = Points.plain(
        np.arange(len(hosts)),
        np.concatenate(([0], np.cumsum([len(span) for span in spans]))),
        points.places[chosen],
        points.inverses[chosen],
        np.full((len(hosts), 1), len(hosts)),
    )
    return replace(plain, slants=points.slants[chosen])
