"""Keyframes with points of known depth, ready to be aligned."""

import numpy as np
from jaxtyping import Float

from invgraph.fitting.motion.alignment import Points
from invgraph.fitting.motion.depths_cpu import search
from invgraph.fitting.motion.pixel_selection import best_of_cells
from invgraph.kernels.threads import launch

_CELL = 14  # pixels: one point at most per cell
_BORDER = 4
_FAINT = 6.0  # levels per pixel: weaker gradients are noise
_TARGETS = 8  # keyframes next in time, on both sides
_CANDIDATES = 96
_WIDER = 1.6  # by what depths may be out of the range of the followed points
_ALIKE = 0.6  # mean normalised correlation


def choose_points(picture: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "n 2"]:
    """(u, v) of the steepest pixel of every cell that has a steep one."""
    slope = np.zeros_like(picture)
    across = (picture[1:-1, 2:] - picture[1:-1, :-2]) / 2
    down = (picture[2:, 1:-1] - picture[:-2, 1:-1]) / 2
    slope[1:-1, 1:-1] = np.hypot(across, down)
    slope[:_BORDER] = slope[-_BORDER:] = 0
    slope[:, :_BORDER] = slope[:, -_BORDER:] = 0
    return best_of_cells(slope, _CELL, _FAINT, np.zeros((0, 2)))


def first_points(
    images: Float[np.ndarray, "k h w"],
    poses: Float[np.ndarray, "k 4 4"],
    lens: Float[np.ndarray, " 12"],
    ranges: Float[np.ndarray, "k 2"],
) -> Points:
    """Points of every keyframe, with the inverse depths under which its neighbours look alike.

    Args:
        images: keyframes in the order of time, finest level.
        poses: camera_from_world.
        lens: as in ``alignment``.
        ranges: smallest and largest inverse depth of what each keyframe is known to see.
    """
    count = len(images)
    chosen = [choose_points(image) for image in images]
    starts = np.concatenate(([0], np.cumsum([len(own) for own in chosen])))
    places = np.concatenate(chosen)
    candidates = np.linspace(ranges[:, 0] / _WIDER, ranges[:, 1] * _WIDER, _CANDIDATES, axis=1)
    points = Points.plain(
        np.arange(count), starts, places, np.zeros(len(places)), neighbours(count)
    )
    likeness = np.zeros((len(places), 2))
    launch(
        search,
        images,
        points.hosts,
        points.starts,
        points.places,
        points.targets,
        poses,
        lens,
        candidates,
        points.inverses,
        likeness,
    )
    return points.only((likeness[:, 0] > _ALIKE) & (points.inverses > 0))


def neighbours(count: int) -> np.ndarray:
    """Per keyframe the next ones in time on both sides; -1 where there are no more."""
    found = np.full((count, _TARGETS), -1)
    for index in range(count):
        steps = (index + sign * step for step in range(1, count) for sign in (-1, 1))
        near = [other for other in steps if 0 <= other < count][:_TARGETS]
        found[index, : len(near)] = near
    return found
