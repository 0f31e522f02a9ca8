"""Cameras made consistent with what matches between photos."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.camera import Camera
from invgraph.transforms import exp_so3

_RANGE = (0.7, 1.4)  # of the factor of focal lengths
_NOISE_PX = 1.0
_TURN, _SHIFT = 0.01, 0.01  # how far poses may be off: radians; share of the cameras' extent
_MATCHES = 150  # per pair, enough for a pose
_FEWEST = 8


@dataclass(frozen=True, eq=False)
class Matches:
    """The same points of a place in two photos.

    Attributes:
        first: index of one photo.
        second: index of the other.
        pixels_first: where the points are in one, corner origin.
        pixels_second: where they are in the other.
    """

    first: int
    second: int
    pixels_first: Float[Tensor, "n 2"]
    pixels_second: Float[Tensor, "n 2"]


def refine_cameras(
    cameras: Sequence[Camera], matches: Sequence[Matches], *, turn: float = _TURN
) -> tuple[list[Camera], float]:
    """Correct a common factor of all focal lengths, then every pose a little, by epipolar lines.

    The world and its scale are those of the cameras given: poses are held by springs.

    Args:
        cameras: one per photo, without distortion.
        matches: of pairs of photos; a few of them may be wrong.
        turn: how far rotations may be off, radians.

    Returns:
        The cameras, and the median distance of matches from their epipolar lines in pixels.

    Raises:
        ValueError: too few matches between photos taken from different places.

    Source:
        Sampson's distance: Hartley & Zisserman, Multiple View Geometry (2004), section 11.4.3.
    """
    from scipy.optimize import least_squares

    centres = np.stack([camera.centre.double().numpy() for camera in cameras])
    extent = float(np.linalg.norm(centres - centres.mean(0), axis=1).max())
    pairs = [
        pair
        for pair in matches
        if len(pair.pixels_first) >= _FEWEST
        and np.linalg.norm(centres[pair.first] - centres[pair.second]) > 0.1 * extent
    ]
    if not pairs or extent == 0:
        raise ValueError(
            f"no pair of photos from different places has {_FEWEST} matches; add matches."
        )
    data = _Epipolar(cameras, pairs)
    count = len(cameras)
    scale = np.concatenate((np.full(3, turn), np.full(3, _SHIFT * extent)))

    def residuals(factor: float, values: np.ndarray) -> np.ndarray:
        distance = data.distances(factor, values.reshape(count, 6) * scale) / _NOISE_PX
        # The square of this is linear for outliers; springs stay quadratic.
        robust = np.sign(distance) * np.sqrt(2 * (np.sqrt(1 + distance**2) - 1))
        return np.concatenate((robust / np.sqrt(_FEWEST), values))

    held = np.zeros(6 * count)
    # Turned poses could stand in for a wrong focal length: it is found with the poses as given.
    factor = float(
        least_squares(lambda value: residuals(value[0], held), [1.0], bounds=_RANGE).x[0]
    )
    found = least_squares(lambda value: residuals(factor, value), held, max_nfev=10).x
    poses = found.reshape(count, 6) * scale
    refined = []
    for camera, pose in zip(cameras, poses, strict=True):
        change = torch.eye(4, dtype=torch.float64)
        change[:3, :3] = exp_so3(torch.from_numpy(pose[:3]))
        change[:3, 3] = torch.from_numpy(pose[3:])
        moved = (change @ camera.camera_from_world.double()).to(camera.focal.dtype)
        refined.append(replace(camera, camera_from_world=moved, focal=camera.focal * factor))
    return refined, float(np.median(np.abs(data.distances(factor, poses))))


class _Epipolar:
    """Distances of matches from epipolar lines, for all pairs at once."""

    def __init__(self, cameras: Sequence[Camera], pairs: list[Matches]) -> None:
        random = np.random.default_rng(0)
        first, second, which = [], [], []
        for index, pair in enumerate(pairs):
            chosen = random.permutation(len(pair.pixels_first))[:_MATCHES]
            first.append(pair.pixels_first.double().numpy()[chosen])
            second.append(pair.pixels_second.double().numpy()[chosen])
            which.append(np.full(len(chosen), index))
        self.which = np.concatenate(which)
        self.a = np.array([pair.first for pair in pairs])
        self.b = np.array([pair.second for pair in pairs])
        self.first, self.second = np.concatenate(first), np.concatenate(second)
        self.poses = np.stack([camera.camera_from_world.double().numpy() for camera in cameras])
        self.focal = np.stack([camera.focal.double().numpy() for camera in cameras])
        principal = np.stack([camera.principal.double().numpy() for camera in cameras])
        self.first = self.first - principal[self.a][self.which]
        self.second = self.second - principal[self.b][self.which]

    def distances(self, factor: float, changes: np.ndarray) -> np.ndarray:
        """Sampson distance of every match, pixels, with a sign."""
        poses = self.poses.copy()
        turn = exp_so3(torch.from_numpy(changes[:, :3].copy())).numpy()
        poses[:, :3] = turn @ poses[:, :3]
        poses[:, :3, 3] += changes[:, 3:]
        rotation = poses[self.b, :3, :3] @ poses[self.a, :3, :3].transpose(0, 2, 1)
        shift = poses[self.b, :3, 3] - (rotation @ poses[self.a, :3, 3, None])[..., 0]
        shift /= np.maximum(np.linalg.norm(shift, axis=1, keepdims=True), 1e-12)
        essential = np.cross(shift[:, None], rotation.transpose(0, 2, 1)).transpose(0, 2, 1)
        one = np.ones((len(self.first), 1))
        fa, fb = (factor * self.focal[side][self.which] for side in (self.a, self.b))
        p = np.concatenate((self.first / fa, one), 1)
        q = np.concatenate((self.second / fb, one), 1)
        line_b = (essential[self.which] @ p[..., None])[..., 0]
        line_a = (q[:, None] @ essential[self.which])[:, 0]
        # In pixels: lines divide by the focal length of the image they lie in.
        slope = ((line_b[:, :2] / fb) ** 2).sum(1) + ((line_a[:, :2] / fa) ** 2).sum(1)
        return (q * line_b).sum(1) / np.sqrt(np.maximum(slope, 1e-30))
