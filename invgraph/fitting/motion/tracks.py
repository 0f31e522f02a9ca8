"""Points followed through a video, and the frames that are far enough apart to be keyframes."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from invgraph.fitting.motion.flow_cpu import follow, score_corners
from invgraph.fitting.motion.pixel_selection import best_of_cells
from invgraph.fitting.motion.pyramids import Pyramid
from invgraph.kernels.threads import launch

_CELL = 14  # pixels: one new corner at most per cell without points
_BORDER = 8
_FAINT = 4.0  # squared levels: corners that score less are noise
_RETURN = 0.7  # pixels
_MOVE = 0.04  # of the picture's longer side: median motion of points from keyframe to keyframe
_KEPT = 0.7  # a keyframe is also due when fewer of the last one's points are left
_FEW = 12  # points, below which a frame cannot be compared with the last one


@dataclass(frozen=True, eq=False)
class Tracks:
    """Where points appear in the frames of a video.

    Attributes:
        points: per frame ``n``, numbers of the points seen.
        places: per frame ``n 2``, (u, v) pixels of the working size.
        keyframes: indices of frames, ascending.
        moved: largest median motion between a frame and the last keyframe, pixels.
    """

    points: list[Int[np.ndarray, " _"]]
    places: list[Float[np.ndarray, "_ 2"]]
    keyframes: list[int]
    moved: float


def follow_points(pyramids: Iterable[Pyramid]) -> Tracks:
    """Follow corners from frame to frame; new ones are taken at every keyframe."""
    points: list[np.ndarray] = []
    places: list[np.ndarray] = []
    keyframes: list[int] = []
    farthest, fresh = 0.0, 0
    last: Pyramid = ()
    velocity = np.zeros((0, 2))
    ids, at = np.zeros(0, np.int64), np.zeros((0, 2))
    for index, picture in enumerate(pyramids):
        if index:
            found = at + velocity
            launch(follow, last, picture, at, found, _RETURN)
            kept = np.isfinite(found[:, 0])
            velocity = (found - at)[kept]
            ids, at = ids[kept], found[kept]
        moved, share = _since(points, places, keyframes, ids, at)
        farthest = max(farthest, moved)
        if not keyframes or moved > _MOVE * max(picture[0].shape) or share < _KEPT:
            keyframes.append(index)
            added = _new_corners(picture[0], at)
            ids = np.concatenate((ids, np.arange(fresh, fresh + len(added))))
            fresh += len(added)
            velocity = np.concatenate((velocity, _like_neighbours(added, at, velocity)))
            at = np.concatenate((at, added))
        points.append(ids)
        places.append(at)
        last = picture
    if keyframes[-1] != len(points) - 1:
        keyframes.append(len(points) - 1)
    return Tracks(points, places, keyframes, farthest)


def _since(
    points: list[np.ndarray],
    places: list[np.ndarray],
    keyframes: list[int],
    ids: np.ndarray,
    at: np.ndarray,
) -> tuple[float, float]:
    """Median motion since the last keyframe, and the share of its points that are left."""
    if not keyframes:
        return 0.0, 1.0
    before = keyframes[-1]
    _, mine, theirs = np.intersect1d(ids, points[before], return_indices=True)
    share = len(mine) / max(len(points[before]), 1)
    if len(mine) < _FEW:
        return 0.0, share
    moved = np.linalg.norm(at[mine] - places[before][theirs], axis=1)
    return float(np.median(moved)), share


def _new_corners(picture: np.ndarray, at: np.ndarray) -> Float[np.ndarray, "n 2"]:
    """The best corner of every cell that holds no point yet."""
    scores = np.zeros(picture.shape, np.float32)
    launch(score_corners, picture, scores)
    scores[:_BORDER] = scores[-_BORDER:] = 0
    scores[:, :_BORDER] = scores[:, -_BORDER:] = 0
    return best_of_cells(scores, _CELL, _FAINT, at)


def _like_neighbours(added: np.ndarray, at: np.ndarray, velocity: np.ndarray) -> np.ndarray:
    """New points are expected to move as the nearest old one does."""
    from scipy.spatial import KDTree

    if not len(at) or not len(added):
        return np.zeros((len(added), 2))
    return velocity[KDTree(at).query(added)[1]]
