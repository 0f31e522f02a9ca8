"""Direct alignment: the poses, depths and lens under which pictures of the same points agree."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from invgraph.fitting.motion.photometric_cpu import linearise
from invgraph.geometry.transforms import exp_so3
from invgraph.kernels.threads import launch

_PRIOR_SIGMAS = np.array([0.1, 0.1, 0.1])  # usual errors of log focal length, k1, k2
_LIMIT = 120.0  # squared levels: scale of the robust loss
_DAMPING, _MOST_DAMPING = 1e-4, 1e6
_ENOUGH = 2e-4  # relative descent of a step below which it ends


@dataclass(frozen=True, eq=False)
class Points:
    """Points of hosts, and the frames they are looked for in.

    Attributes:
        hosts: ``k``, frames.
        starts: ``k + 1``: the points of host i are those from ``starts[i]`` to ``starts[i + 1]``.
        places: ``n 2``, (u, v) pixels of the finest level.
        inverses: ``n``, inverse depth along the host's optical axis.
        targets: ``k m``, frames; -1 for none.
        gains: ``k m 2``: levels in the target are the first times those in the host plus the other.
        slants: ``n 2``, how inverse depth grows with x and y on the plane z = 1 around a point.
    """

    hosts: np.ndarray
    starts: np.ndarray
    places: np.ndarray
    inverses: np.ndarray
    targets: np.ndarray
    gains: np.ndarray
    slants: np.ndarray

    @staticmethod
    def plain(
        hosts: np.ndarray,
        starts: np.ndarray,
        places: np.ndarray,
        inverses: np.ndarray,
        targets: np.ndarray,
    ) -> "Points":
        """Points that face their hosts, in frames of one exposure."""
        gains = np.broadcast_to(np.array([1.0, 0.0]), (*targets.shape, 2)).copy()
        return Points(hosts, starts, places, inverses, targets, gains, np.zeros((len(places), 2)))

    def only(self, chosen: np.ndarray) -> "Points":
        """Those points that a mask of ``n`` chooses."""
        counts = np.concatenate(([0], np.cumsum(chosen)))
        return replace(
            self,
            starts=counts[self.starts],
            places=self.places[chosen],
            inverses=self.inverses[chosen],
            slants=self.slants[chosen],
        )


@dataclass(frozen=True, eq=False)
class State:
    """What descends.

    Attributes:
        poses: ``frames 4 4``, camera_from_world.
        lens: fx, fy, cx, cy of the finest level, k1, k2, p1, p2, k3, k4, k5, k6.
        points: with inverse depths.
    """

    poses: np.ndarray
    lens: np.ndarray
    points: Points


@dataclass(frozen=True, eq=False)
class Linear:
    """Cost and normal equations at a state; see ``photometric_cpu.linearise``."""

    cameras: np.ndarray
    slopes: np.ndarray
    schur: np.ndarray
    schur_slopes: np.ndarray
    cross: np.ndarray
    depth_parts: np.ndarray
    cost: float
    light: np.ndarray
    energies: np.ndarray


def compare(state: State, images: np.ndarray, scale: int, derive: bool) -> Linear:
    """Robust photometric residuals at a state.

    Args:
        state: where.
        images: ``frames h w`` of one level of the pyramids.
        scale: pixels of the finest level per pixel of ``images``.
        derive: whether normal equations are wanted.
    """
    points = state.points
    count, most = points.targets.shape
    size, number = 6 * (most + 2), len(points.inverses)
    shown = count if derive else 0
    equations = (
        np.zeros((shown, size, size)),
        np.zeros((shown, size)),
        np.zeros((shown, size, size)),
        np.zeros((shown, size)),
        np.zeros((number if derive else 0, size), np.float32),
        np.zeros((number if derive else 0, 2)),
    )
    costs, light = np.zeros(count), np.zeros((count, most, 5))
    energies = np.zeros((number, most), np.float32)
    launch(
        linearise,
        images,
        points.hosts,
        points.starts,
        points.places,
        points.inverses,
        points.slants,
        points.targets,
        state.poses,
        state.lens,
        float(scale),
        points.gains,
        _LIMIT,
        derive,
        *equations,
        costs,
        light,
        energies,
    )
    return Linear(*equations, float(costs.sum()), light, energies)


def align(
    state: State, start: np.ndarray, images: np.ndarray, scale: int, steps: int
) -> tuple[State, Linear]:
    """Levenberg-Marquardt over all poses, inverse depths and the lens; depths are eliminated.

    Between steps gain and offset between any two pictures follow in closed form.

    Args:
        state: where to start.
        start: the lens that priors pull to.
        images: ``frames h w`` of one level of the pyramids.
        scale: pixels of the finest level per pixel of ``images``.
        steps: at most.

    Source:
        Engel et al., Direct Sparse Odometry (2018), with one lens for all frames and without
        marginalisation: windows are not cut, so nothing is linearised for good.
    """
    damping = _DAMPING
    here = compare(state, images, scale, True)
    best = here.cost + _spring_cost(state.lens, start)
    for _ in range(steps):
        before = best
        while damping < _MOST_DAMPING:
            there = _stepped(state, here, start, damping)
            tried = compare(there, images, scale, False)
            value = tried.cost + _spring_cost(there.lens, start)
            if value < best:
                damping = max(damping / 8, 1e-8)
                state = replace(there, points=_relit(there.points, tried.light))
                here = compare(state, images, scale, True)
                best = here.cost + _spring_cost(state.lens, start)
                break
            damping *= 8
        if before - best < _ENOUGH * before:
            break
    return state, here


def align_pose(
    state: State, frame: int, images: np.ndarray, scale: int, steps: int
) -> tuple[State, Linear]:
    """Levenberg-Marquardt over the pose of one frame that is the only target of all points."""
    damping = _DAMPING
    here = compare(state, images, scale, True)
    for _ in range(steps):
        before = here.cost
        matrix = here.cameras[:, 6:12, 6:12].sum(0)
        slope = here.slopes[:, 6:12].sum(0)
        while damping < _MOST_DAMPING:
            damped = matrix + np.diag(damping * np.diag(matrix) + 1e-9)
            moved = np.zeros((len(state.poses), 6))
            moved[frame] = -np.linalg.solve(damped, slope)
            there = replace(state, poses=moved_poses(state.poses, moved))
            tried = compare(there, images, scale, False)
            if tried.cost < here.cost:
                damping = max(damping / 8, 1e-8)
                state = replace(there, points=_relit(there.points, tried.light))
                here = compare(state, images, scale, True)
                break
            damping *= 8
        if before - here.cost < _ENOUGH * before:
            break
    return state, here


def _spring_cost(lens: np.ndarray, start: np.ndarray) -> float:
    return _LIMIT * float(((_lens_change(lens, start) / _PRIOR_SIGMAS) ** 2).sum())


def _lens_change(lens: np.ndarray, start: np.ndarray) -> np.ndarray:
    return np.array([np.log(lens[0] / start[0]), lens[4] - start[4], lens[5] - start[5]])


def _relit(points: Points, light: np.ndarray) -> Points:
    """Gains and offsets by weighted least squares; pairs without overlap keep theirs."""
    one, host, target, squared, product = np.moveaxis(light, 2, 0)
    seen = one > 1
    one = np.where(seen, one, 1.0)
    spread = squared - host * host / one
    # A flat picture does not tell its gain: a weak prior holds it at 1.
    gain = (product - host * target / one + one) / (spread + one)
    gain = np.clip(gain, 0.3, 3.0)
    fresh = np.stack((gain, (target - gain * host) / one), 2)
    return replace(points, gains=np.where(seen[..., None], fresh, points.gains))


def _stepped(state: State, linear: Linear, start: np.ndarray, damping: float) -> State:
    """The state one damped step on."""
    from scipy import sparse
    from scipy.sparse.linalg import spsolve

    points = state.points
    frames = len(state.poses)
    count, size = linear.slopes.shape
    lens_block = np.full((count, 1), frames)
    blocks = np.concatenate((points.hosts[:, None], points.targets, lens_block), 1)
    column = (6 * blocks[:, :, None] + np.arange(6)).reshape(count, size)
    used = np.repeat(blocks >= 0, 6, axis=1)
    column = np.where(used, column, 0)
    total = 6 * (frames + 1)
    diagonal = np.zeros(total)
    own = np.einsum("kii->ki", linear.cameras)
    np.add.at(diagonal, column, own)
    matrix = linear.cameras - linear.schur / (1 + damping)
    slopes = linear.slopes - linear.schur_slopes / (1 + damping)
    rows = np.broadcast_to(column[:, :, None], matrix.shape)
    columns = np.broadcast_to(column[:, None, :], matrix.shape)
    filled = matrix != 0
    whole = sparse.csc_matrix(
        (matrix[filled], (rows[filled], columns[filled])), shape=(total, total)
    )
    prior = np.zeros(total)
    lens = 6 * frames + np.arange(3)
    prior[lens] = _LIMIT / _PRIOR_SIGMAS**2
    # Frames that nothing sees and the padding of the lens stay where they are.
    whole = whole + sparse.diags(damping * diagonal + prior + 1e-6 * diagonal.mean())
    right = np.zeros(total)
    np.add.at(right, column, slopes)
    right[lens] += _LIMIT * _lens_change(state.lens, start) / _PRIOR_SIGMAS**2
    step = -np.asarray(spsolve(whole, right))
    by_host = np.where(used, step[column], 0.0)
    host_of = np.repeat(np.arange(count), np.diff(points.starts))
    carried = np.einsum("nd,nd->n", linear.cross, by_host[host_of].astype(np.float32))
    curvature, slope = linear.depth_parts.T
    change = -(slope + carried) / (curvature * (1 + damping))
    inverses = np.clip(points.inverses + change, points.inverses / 3, points.inverses * 3)
    moved = step[: 6 * frames].reshape(frames, 6)
    new_lens = state.lens.copy()
    new_lens[:2] *= np.exp(step[lens[0]])
    new_lens[4:6] += step[lens[1:]]
    return State(moved_poses(state.poses, moved), new_lens, replace(points, inverses=inverses))


def moved_poses(poses: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Poses after ``n 6`` steps: a rotation vector after them, then a shift."""
    turn = exp_so3(torch.from_numpy(np.ascontiguousarray(steps[:, :3]))).numpy()
    result = poses.copy()
    result[:, :3] = turn @ poses[:, :3]
    result[:, :3, 3] += steps[:, 3:]
    return result
