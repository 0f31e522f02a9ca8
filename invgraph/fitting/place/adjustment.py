"""Bundle adjustment of a lens that all photos share, and of poses held near those given."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from invgraph.geometry import transforms
from invgraph.geometry.least_squares import NormalEquations, cauchy, eliminate, minimise
from invgraph.geometry.lens import Lens
from invgraph.geometry.transforms import cross_matrix

_LENS = np.array([0.2, 0.2, 0.3])  # how far log focal factor, k1 and k2 may be off
_NEAR = 1e-6  # of the cameras' extent: nearer points are behind the camera
_STEPS, _ENOUGH = 50, 1e-5


@dataclass(frozen=True)
class BundleState:
    """What descends.

    Attributes:
        lens: log of the focal lengths' factor, k1, k2.
        poses: ``n 4 4``, camera_from_world.
        points: ``m 3``, world frame.
    """

    lens: np.ndarray
    poses: np.ndarray
    points: np.ndarray


@dataclass(frozen=True)
class Adjustment:
    """Observations of points in photos.

    Attributes:
        poses: ``n 4 4``, camera_from_world as given; the world's origin is near the cameras.
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

    def start(self, factor: float) -> BundleState:
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
        return BundleState(lens, self.poses, found[:, :3] / far)

    def without(self, unknowns: BundleState, limit_px: float) -> "tuple[Adjustment, BundleState]":
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
        return rest, BundleState(unknowns.lens, unknowns.poses, unknowns.points[~lost])

    def distances(self, unknowns: BundleState) -> np.ndarray:
        """How far from its pixel every point lands; infinite behind the camera."""
        pixels, z = self._project(unknowns)[:2]
        return np.where(z > self._near, np.linalg.norm(pixels - self.pixels, axis=1), np.inf)

    def cost(self, unknowns: BundleState) -> float:
        """Robust sum of squares of a point per pixel, without the penalties on lens and poses."""
        return float(cauchy(np.minimum(self.distances(unknowns), 1e3) ** 2)[0].sum())

    def descend(self, unknowns: BundleState, hold: tuple[float, float] | None) -> BundleState:
        """Damped least squares with Cauchy's loss.

        Args:
            unknowns: where to start.
            hold: standard deviations of the cameras' centres from those given, world units, and of
                rotations, radians; None keeps the poses.
        """
        return minimise(_Held(self, hold), unknowns, steps=_STEPS, enough=_ENOUGH).state

    def derivatives(self, unknowns: BundleState) -> tuple[np.ndarray, ...]:
        """Weighted errors ``k 2`` and their derivatives by lens, pose and point, ``k 2 n`` each."""
        pixels, z, xy, radius, focal, inside = self._project(unknowns)
        bent = _lens(unknowns).jacobian(torch.from_numpy(inside)).numpy()
        by_inside = focal[:, :, None] * bent
        pose = unknowns.poses[self.photo]
        turned = torch.from_numpy(inside - pose[:, :3, 3])
        by_pose = np.concatenate((by_inside, -by_inside @ cross_matrix(turned).numpy()), 2)
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
        root = np.sqrt(np.where(ahead, cauchy((error * error).sum(1))[1], 0.0))[:, None, None]
        parts = (error[..., None], by_lens, by_pose, by_inside @ pose[:, :3, :3])
        error, *by = (np.where(root > 0, root * part, 0.0) for part in parts)
        return error[..., 0], *by

    @property
    def _near(self) -> float:
        return _NEAR * float(np.linalg.norm(np.ptp(centres(self.poses), axis=0)))

    def _project(self, unknowns: BundleState) -> tuple[np.ndarray, ...]:
        """Pixels, depth, and what their derivatives are made of."""
        factor = np.exp(unknowns.lens[0])
        pose = unknowns.poses[self.photo]
        points = unknowns.points[self.point]
        inside = np.einsum("kij,kj->ki", pose[:, :3, :3], points) + pose[:, :3, 3]
        z = np.where(np.abs(inside[:, 2]) < 1e-12, 1e-12, inside[:, 2])
        xy = inside[:, :2] / z[:, None]
        radius = (xy * xy).sum(1)
        focal = factor * self.focal[self.photo]
        pixels = focal * _lens(unknowns).project(torch.from_numpy(inside))[0].numpy()
        return pixels + self.principal[self.photo], z, xy, radius, focal, inside


@dataclass(frozen=True)
class _Held:
    """Lens, poses and points as a problem of least squares, with penalties on the first two.

    Attributes:
        data: what was seen.
        hold: as of :meth:`Adjustment.descend`.
    """

    data: Adjustment
    hold: tuple[float, float] | None

    def cost(self, unknowns: BundleState) -> float:
        away = self._away(unknowns)[0] if self.hold else np.zeros(0)
        bent = unknowns.lens / _LENS
        return self.data.cost(unknowns) + float((bent**2).sum() + (away**2).sum())

    def linearise(self, unknowns: BundleState) -> NormalEquations:
        from scipy import sparse

        error, by_lens, by_pose, by_point = self.data.derivatives(unknowns)
        photo, point = np.repeat(self.data.photo, 2), np.repeat(self.data.point, 2)
        flat = error.reshape(-1)
        shared: Any = sparse.csr_matrix(by_lens.reshape(len(flat), -1))
        points = _block_rows(by_point.reshape(len(flat), -1), point, len(unknowns.points))
        priors, pulls = [np.diag(_LENS**-2.0)], [unknowns.lens / _LENS**2]
        if self.hold:
            moves = _block_rows(by_pose.reshape(len(flat), -1), photo, len(unknowns.poses))
            shared = sparse.hstack((shared, moves))
            away, by_move = self._away(unknowns)
            priors += list(np.einsum("nij,nik->njk", by_move, by_move))
            pulls += list(np.einsum("nij,ni->nj", by_move, away))
        shared = shared.tocsc()
        matrix = (shared.T @ shared).toarray() + sparse.block_diag(priors).toarray()
        slope = shared.T @ flat + np.concatenate(pulls)
        blocks = _summed(np.einsum("kij,kil->kjl", by_point, by_point), self.data.point)
        point_slope = (points.T @ flat).reshape(-1, 3)
        apart = eliminate(blocks, point_slope, (points.T @ shared).tocsr())
        return NormalEquations(self.cost(unknowns), slope, matrix, apart)

    def retract(self, unknowns: BundleState, step: np.ndarray) -> BundleState:
        lens, moves, points = np.split(step, [3, len(step) - unknowns.points.size])
        poses = unknowns.poses
        if self.hold:
            twists = torch.from_numpy(moves.reshape(-1, 6))
            poses = transforms.perturb(torch.from_numpy(poses), twists).numpy()
        return BundleState(unknowns.lens + lens, poses, unknowns.points + points.reshape(-1, 3))

    def _away(self, unknowns: BundleState) -> tuple[np.ndarray, np.ndarray]:
        """How far centres and rotations are off in standard deviations, ``n 6``; its derivatives.

        A centre is penalised and not the translation, which also says where the world's origin is.
        """
        assert self.hold is not None
        now = torch.from_numpy(unknowns.poses)
        turn = transforms.log_so3(now[:, :3, :3] @ torch.from_numpy(self.data.poses)[:, :3, :3].mT)
        shift = centres(unknowns.poses) - centres(self.data.poses)
        back = now[:, :3, :3].mT
        by_move = torch.zeros(len(now), 6, 6, dtype=now.dtype)
        by_move[:, :3, :3] = -back
        by_move[:, :3, 3:] = -back @ cross_matrix(now[:, :3, 3])
        # The logarithm's derivative but for terms of the turn squared.
        by_move[:, 3:, 3:] = torch.eye(3) - 0.5 * cross_matrix(turn)
        sigmas = np.repeat(self.hold, 3)
        away = np.concatenate((shift, turn.numpy()), 1) / sigmas
        return away, by_move.numpy() / sigmas[:, None]


def _lens(unknowns: BundleState) -> Lens:
    """The distortion alone: a lens of focal length 1 around the optical axis."""
    distortion = torch.tensor([*unknowns.lens[1:], 0.0, 0.0, 0.0], dtype=torch.float64)
    one, zero = distortion.new_ones(2), distortion.new_zeros(2)
    return Lens(one, zero, 1, 1, distortion, near=1e-12)


def centres(poses: np.ndarray) -> np.ndarray:
    """Cameras' centres, ``n 3``, of ``n 4 4`` camera_from_world."""
    return -np.einsum("nji,nj->ni", poses[:, :3, :3], poses[:, :3, 3])


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
