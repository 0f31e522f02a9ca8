"""Bundle adjustment of a lens that all photos share, and of poses held near those given."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from invgraph.geometry.lens import Lens
from invgraph.geometry.transforms import cross_matrix, exp_so3

_LENS = np.array([0.2, 0.2, 0.3])  # how far log focal factor, k1 and k2 may be off
_NEAR = 1e-6  # of the cameras' extent: nearer points are behind the camera
_STEPS, _ENOUGH = 30, 1e-5  # at most; share of the cost gained by the last one
_DAMPING, _MOST_DAMPING = 1e-4, 1e5


@dataclass(frozen=True)
class Unknowns:
    """What descends.

    Attributes:
        lens: log of the focal lengths' factor, k1, k2.
        moves: ``n 6``: rotation vector applied after the pose's rotation, and how far the camera's
            centre moves, world frame.
        points: ``m 3``, world frame.
    """

    lens: np.ndarray
    moves: np.ndarray
    points: np.ndarray


@dataclass(frozen=True)
class Adjustment:
    """Observations of points in photos.

    Attributes:
        poses: ``n 4 4``, camera_from_world.
        focal: ``n 2``, pixels.
        principal: ``n 2``, pixels.
        photo: per observation.
        point: per observation, counted from 0 without gaps.
        pixels: ``k 2``, per observation.
    """

    poses: np.ndarray
    focal: np.ndarray
    principal: np.ndarray
    photo: np.ndarray
    point: np.ndarray
    pixels: np.ndarray

    def start(self, factor: float) -> Unknowns:
        """Points triangulated by the poses as given, with focal lengths times a factor.

        Source:
            Hartley & Zisserman, Multiple View Geometry (2004), section 12.2.
        """
        xy = (self.pixels - self.principal[self.photo]) / (factor * self.focal[self.photo])
        pose = self.poses[self.photo]
        lines = xy[:, :, None] * pose[:, None, 2] - pose[:, :2]
        normal = _summed(np.einsum("kij,kil->kjl", lines, lines), self.point)
        found = np.linalg.eigh(normal)[1][:, :, 0]
        far = np.where(np.abs(found[:, 3:]) < 1e-12, 1e-12, found[:, 3:])
        lens = np.array([np.log(factor), 0.0, 0.0])
        return Unknowns(lens, np.zeros((len(self.poses), 6)), found[:, :3] / far)

    def without(self, unknowns: Unknowns, limit_px: float) -> "tuple[Adjustment, Unknowns]":
        """Leave out points that are behind a camera or land too far off in one."""
        bad = ~(self.distances(unknowns) < limit_px)
        lost = np.bincount(self.point, bad) > 0
        keep = ~lost[self.point]
        point = np.unique(self.point[keep], return_inverse=True)[1].reshape(-1)
        rest = Adjustment(
            self.poses,
            self.focal,
            self.principal,
            self.photo[keep],
            point,
            self.pixels[keep],
        )
        return rest, Unknowns(unknowns.lens, unknowns.moves, unknowns.points[~lost])

    def distances(self, unknowns: Unknowns) -> np.ndarray:
        """How far from its pixel every point lands; infinite behind the camera."""
        pixels, z = self._project(unknowns)[:2]
        return np.where(z > self._near, np.linalg.norm(pixels - self.pixels, axis=1), np.inf)

    def cost(self, unknowns: Unknowns) -> float:
        """Robust sum of squares of a point per pixel, without the penalties on lens and poses."""
        return float(np.log1p(np.minimum(self.distances(unknowns), 1e3) ** 2).sum())

    def descend(self, unknowns: Unknowns, turn: float, shift: float) -> Unknowns:
        """Levenberg-Marquardt with Cauchy's loss; points are eliminated.

        Args:
            unknowns: where to start.
            turn: standard deviation of rotations from those given, radians; 0 holds them.
            shift: the same of the cameras' centres, world units.
        """
        count = len(self.poses)
        sigmas = np.concatenate((_LENS, np.tile(np.repeat([turn, shift], 3), count)))
        free = np.flatnonzero(sigmas)
        sigmas = sigmas[free]

        def total(state: Unknowns) -> float:
            return self.cost(state) + float(((_flat(state)[free] / sigmas) ** 2).sum())

        best, damping = total(unknowns), _DAMPING
        for _ in range(_STEPS):
            system = self._linear(unknowns, free, sigmas)
            before = best
            while damping < _MOST_DAMPING:
                step, shifts = _solve(*system, damping)
                whole = np.zeros(3 + 6 * count)
                whole[free] = step
                there = Unknowns(
                    unknowns.lens + whole[:3],
                    unknowns.moves + whole[3:].reshape(count, 6),
                    unknowns.points + shifts,
                )
                value = total(there)
                if value < best:
                    unknowns, best = there, value
                    damping = max(damping / 10, 1e-9)
                    break
                damping *= 10
            if before - best < _ENOUGH * before:
                break
        return unknowns

    @property
    def _near(self) -> float:
        centres = self._centres
        return _NEAR * float(np.linalg.norm(np.ptp(centres, axis=0)))

    @property
    def _centres(self) -> np.ndarray:
        return -np.einsum("nji,nj->ni", self.poses[:, :3, :3], self.poses[:, :3, 3])

    def _project(self, unknowns: Unknowns) -> tuple[np.ndarray, ...]:
        """Pixels, depth, and what their derivatives are made of."""
        factor = np.exp(unknowns.lens[0])
        rotation = (
            exp_so3(torch.from_numpy(unknowns.moves[:, :3].copy())).numpy() @ self.poses[:, :3, :3]
        )[self.photo]
        centre = (self._centres + unknowns.moves[:, 3:])[self.photo]
        inside = np.einsum("kij,kj->ki", rotation, unknowns.points[self.point] - centre)
        z = np.where(np.abs(inside[:, 2]) < 1e-12, 1e-12, inside[:, 2])
        xy = inside[:, :2] / z[:, None]
        radius = (xy * xy).sum(1)
        focal = factor * self.focal[self.photo]
        pixels = focal * _lens(unknowns).project(torch.from_numpy(inside))[0].numpy()
        return pixels + self.principal[self.photo], z, xy, radius, focal, inside, rotation

    def _linear(self, unknowns: Unknowns, free: np.ndarray, sigmas: np.ndarray) -> tuple:
        """Normal equations, by blocks: cameras and lens, points, and between both."""
        from scipy import sparse

        pixels, z, xy, radius, focal, inside, rotation = self._project(unknowns)
        by_inside = _lens(unknowns).jacobian(torch.from_numpy(inside)).numpy()
        by_inside = focal[:, :, None] * by_inside
        by_point = by_inside @ rotation
        by_move = np.concatenate(
            (-by_inside @ cross_matrix(torch.from_numpy(inside)).numpy(), -by_point), 2
        )
        by_lens = np.stack(
            (
                pixels - self.principal[self.photo],
                focal * xy * radius[:, None],
                focal * xy * (radius**2)[:, None],
            ),
            2,
        )
        error = pixels - self.pixels
        ahead = z > self._near
        weight = np.where(ahead, 1 / np.sqrt(1 + (error * error).sum(1)), 0.0)[:, None]
        error = np.where(ahead[:, None], error * weight, 0.0).reshape(-1)
        by_lens, by_move, by_point = (
            np.where(ahead[:, None, None], part * weight[..., None], 0.0).reshape(len(error), -1)
            for part in (by_lens, by_move, by_point)
        )
        photo, point = np.repeat(self.photo, 2), np.repeat(self.point, 2)
        moves = _block_rows(by_move, photo, len(self.poses))
        cameras = sparse.hstack((sparse.csr_matrix(by_lens), moves)).tocsc()[:, free]
        points = _block_rows(by_point, point, len(unknowns.points))
        inner = (cameras.T @ cameras).toarray() + np.diag(sigmas**-2.0)
        slope = cameras.T @ error + _flat(unknowns)[free] * sigmas**-2.0
        blocks = _summed(by_point[:, :, None] * by_point[:, None], point)
        return inner, slope, (cameras.T @ points).tocsr(), blocks, points.T @ error


def _solve(
    inner: np.ndarray,
    slope: np.ndarray,
    between: Any,
    blocks: np.ndarray,
    point_slope: np.ndarray,
    damping: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Steps of cameras and lens, and of points, by the Schur complement."""
    from scipy import sparse

    count, eye = len(blocks), np.eye(3)
    # A point at infinity leaves its block singular.
    inverse = np.linalg.inv(blocks * (1 + damping * eye) + 1e-9 * eye)
    inverse = sparse.bsr_matrix(
        (inverse, np.arange(count), np.arange(count + 1)), shape=(3 * count, 3 * count)
    ).tocsr()
    carried = between @ inverse
    reduced = inner + damping * np.diag(np.diag(inner)) - (carried @ between.T).toarray()
    step = -np.linalg.solve(reduced, slope - carried @ point_slope)
    return step, -(inverse @ (point_slope + between.T @ step)).reshape(count, 3)


def _lens(unknowns: Unknowns) -> Lens:
    """The distortion alone: a lens of focal length 1 around the optical axis."""
    distortion = torch.tensor([*unknowns.lens[1:], 0.0, 0.0, 0.0], dtype=torch.float64)
    one, zero = distortion.new_ones(2), distortion.new_zeros(2)
    return Lens(one, zero, 1, 1, distortion, near=1e-12)


def _flat(unknowns: Unknowns) -> np.ndarray:
    return np.concatenate((unknowns.lens, unknowns.moves.reshape(-1)))


def _block_rows(values: np.ndarray, block: np.ndarray, count: int) -> Any:
    """Rows that are zero but for one block of columns each."""
    from scipy import sparse

    rows, width = values.shape
    columns = width * block[:, None] + np.arange(width)
    return sparse.csr_matrix(
        (values.reshape(-1), columns.reshape(-1), np.arange(0, rows * width + 1, width)),
        shape=(rows, width * count),
    )


def _summed(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Sums of equal groups; ``k a b`` to ``groups a b``."""
    flat = values.reshape(len(values), -1)
    sums = [np.bincount(group, flat[:, column]) for column in range(flat.shape[1])]
    return np.stack(sums, 1).reshape(-1, *values.shape[1:])
