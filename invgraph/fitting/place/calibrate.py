"""Cameras made consistent with what matches between photos."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.fitting.place.adjustment import Adjustment
from invgraph.geometry.camera import Camera

_FACTORS = np.geomspace(0.7, 1.4, 36)  # of focal lengths, tried before anything descends
_TURN, _SHIFT = 0.003, 0.003  # how far poses may be off: radians; share of the cameras' extent
_EXACT = 1e-6  # how far poses that are right may be off
_FEWEST_POINTS = 20
_MOST_POINTS = 1500  # enough for a lens and the poses of tens of photos
_OFF_PX = 30.0  # a point that lands this far off somewhere comes from a wrong match


@dataclass(frozen=True, eq=False)
class Matches:
    """The same points of a place in two photos.

    Attributes:
        first: index of one photo.
        second: index of the other.
        pixels_first: where the points are in one, corner origin; equal pixels of a photo are one
            point, in whichever pair they appear.
        pixels_second: where they are in the other.
    """

    first: int
    second: int
    pixels_first: Float[Tensor, "n 2"]
    pixels_second: Float[Tensor, "n 2"]


def refine_cameras(
    cameras: Sequence[Camera],
    matches: Sequence[Matches],
    *,
    turn: float = _TURN,
    shift: float = _SHIFT,
) -> tuple[list[Camera], float]:
    """Correct the lens that all photos share, then every pose a little, by bundle adjustment.

    The lens is a common factor of all focal lengths and two radial distortions. The world and its
    scale are those of the cameras given: a penalty holds poses near them.

    Args:
        cameras: one per photo, without distortion.
        matches: of pairs of photos; a few of them may be wrong. Points that appear in three photos
            or more count.
        turn: how far rotations may be off, radians.
        shift: how far positions may be off, share of the cameras' extent.

    Returns:
        The cameras, and the median distance of points from where they were matched, pixels.

    Raises:
        ValueError: too few points between photos taken from different places.

    Source:
        Triggs et al., Bundle adjustment: a modern synthesis (2000).
    """
    centres = np.stack([camera.centre.double().numpy() for camera in cameras])
    extent = float(np.linalg.norm(centres - centres.mean(0), axis=1).max())
    photo, point, pixels = _tracks(matches)
    if extent == 0 or not len(point) or point.max() + 1 < _FEWEST_POINTS:
        raise ValueError(
            f"{0 if not len(point) else point.max() + 1} points match between three photos or more "
            f"from different places but {_FEWEST_POINTS} are needed; add photos or matches."
        )
    poses = np.stack([camera.camera_from_world.double().numpy() for camera in cameras])
    poses[:, :3, 3] += poses[:, :3, :3] @ centres.mean(0)  # the world's origin is amid the cameras
    focal = np.stack([camera.focal.double().numpy() for camera in cameras])
    principal = np.stack([camera.principal.double().numpy() for camera in cameras])
    data = Adjustment(poses, focal, principal, photo, point, pixels)
    # Turned poses could stand in for a wrong focal length: it is found with the poses as given.
    starts = [data.start(factor) for factor in _FACTORS]
    start = min(starts, key=lambda unknowns: data.cost(unknowns))
    data, start = data.without(start, _OFF_PX)
    lens = data.descend(start, None)
    found = data.descend(lens, (max(shift, _EXACT) * extent, max(turn, _EXACT)))
    distortion = torch.zeros(5, dtype=torch.float64)
    distortion[:2] = torch.from_numpy(found.lens[1:])
    refined = []
    for camera, pose in zip(cameras, found.poses, strict=True):
        kind = camera.focal.dtype
        moved = pose.copy()
        moved[:3, 3] -= pose[:3, :3] @ centres.mean(0)
        refined.append(
            Camera(
                replace(
                    camera.lens.straight(),
                    focal=camera.focal * float(np.exp(found.lens[0])),
                    distortion=distortion.to(kind),
                ),
                torch.from_numpy(moved).to(kind),
            )
        )
    return refined, float(np.median(data.distances(found)))


def _tracks(matches: Sequence[Matches]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Photo, point and pixel of observations; points seen once per photo, in three at least."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    nothing = np.zeros(0, int), np.zeros(0, int), np.zeros((0, 2))
    sides = [
        np.column_stack((np.full(len(pixels), photo), pixels.double().numpy()))
        for pair in matches
        for photo, pixels in ((pair.first, pair.pixels_first), (pair.second, pair.pixels_second))
    ]
    if not sides:
        return nothing
    seen, rows = np.unique(np.concatenate(sides), axis=0, return_inverse=True)
    parts = np.split(rows.reshape(-1), np.cumsum([len(side) for side in sides])[:-1])
    a, b = np.concatenate(parts[0::2]), np.concatenate(parts[1::2])
    links = coo_matrix((np.ones(len(a), bool), (a, b)), shape=(len(seen), len(seen)))
    point = connected_components(links, directed=False)[1]
    photo = seen[:, 0].astype(int)
    # A point that a photo shows twice joins what does not belong together.
    pairs = np.unique(np.column_stack((point, photo)), axis=0)
    good = (np.bincount(point) == np.bincount(pairs[:, 0])) & (np.bincount(point) >= 3)
    chosen = np.flatnonzero(good)
    chosen = np.random.default_rng(0).permutation(chosen)[:_MOST_POINTS]
    keep = np.isin(point, chosen)
    if not keep.any():
        return nothing
    return photo[keep], np.unique(point[keep], return_inverse=True)[1].reshape(-1), seen[keep, 1:]
