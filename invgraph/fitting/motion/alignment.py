"""Direct alignment: the poses, depths and lens under which pictures of the same points agree."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from invgraph.fitting.motion.photometric_cpu import linearise
from invgraph.geometry.least_squares import Eliminated, NormalEquations, minimise
from invgraph.geometry.transforms import exp_so3, perturb
from invgraph.kernels.threads import launch

_PRIOR_SIGMAS = np.array([0.1, 0.1, 0.1])  # usual errors of log focal length, k1, k2
_LIMIT = 120.0  # squared levels: scale of the robust loss
_MOST_CHANGE = 3.0  # factor between a point's inverse depths before and after a step
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
) -> tuple[State, np.ndarray]:
    """Find all poses, inverse depths and the lens together; depths are eliminated.

    Between steps gain and offset between any two pictures follow in closed form.

    Args:
        state: where to start.
        start: the lens that priors pull to.
        images: ``frames h w`` of one level of the pyramids.
        scale: pixels of the finest level per pixel of ``images``.
        steps: at most.

    Returns:
        The state, and every point's differences there, as ``energies`` of ``Linear``.

    Source:
        Engel et al., Direct Sparse Odometry (2018), with one lens for all frames and without
        marginalisation: windows are not cut, so nothing is linearised for good.
    """
    return _descended(Alignment(images, scale, start), state, steps)


def align_pose(
    state: State, frame: int, images: np.ndarray, scale: int, steps: int
) -> tuple[State, np.ndarray]:
    """Find the pose of one frame that is the only target of all points; see :func:`align`."""
    return _descended(PoseAlignment(images, scale, frame), state, steps)


@dataclass(frozen=True, eq=False)
class Tried:
    """A state and its cost before gains and offsets followed; infinite where nobody asked yet."""

    state: State
    cost: float


@dataclass(frozen=True, eq=False)
class PoseAlignment:
    """The pose of one frame as a problem of least squares."""

    images: np.ndarray
    scale: int
    frame: int

    def linearise(self, tried: Tried) -> NormalEquations:
        here = compare(tried.state, self.images, self.scale, True)
        target = slice(6, 12)
        matrix = here.cameras[:, target, target].sum(0)
        return NormalEquations(here.cost, here.slopes[:, target].sum(0), matrix)

    def cost(self, tried: Tried) -> float:
        return tried.cost

    def retract(self, tried: Tried, step: np.ndarray) -> Tried:
        moves = np.zeros((len(tried.state.poses), 6))
        moves[self.frame] = step
        there = replace(tried.state, poses=_moved(tried.state.poses, moves))
        return _tried(there, self.images, self.scale, 0.0)


@dataclass(frozen=True, eq=False)
class Alignment:
    """All poses, the lens and inverse depths as a problem of least squares.

    The shared unknowns are six per frame, then three of the lens, padded to six.
    """

    images: np.ndarray
    scale: int
    start: np.ndarray

    def linearise(self, tried: Tried) -> NormalEquations:
        from scipy import sparse

        state, points = tried.state, tried.state.points
        here = compare(state, self.images, self.scale, True)
        frames, (count, size) = len(state.poses), here.slopes.shape
        lens_block = np.full((count, 1), frames)
        blocks = np.concatenate((points.hosts[:, None], points.targets, lens_block), 1)
        column = (6 * blocks[:, :, None] + np.arange(6)).reshape(count, size)
        # The entries of targets that are none are zero.
        column = np.where(np.repeat(blocks >= 0, 6, axis=1), column, 0)
        total = 6 * (frames + 1)
        slope, taken_slope = np.zeros((2, total))
        np.add.at(slope, column, here.slopes)
        np.add.at(taken_slope, column, here.schur_slopes)
        lens, prior = slice(total - 6, total - 3), np.zeros(total)
        prior[lens] = _LIMIT / _PRIOR_SIGMAS**2
        slope[lens] += prior[lens] * _lens_change(state.lens, self.start)
        matrix = _scattered(here.cameras, column, total) + sparse.diags(prior)
        host_of = np.repeat(np.arange(count), np.diff(points.starts))
        ends = size * np.arange(len(host_of) + 1)
        apart = Eliminated(
            1 / here.depth_parts[:, 0, None, None].astype(float),
            here.depth_parts[:, 1:],
            sparse.csr_matrix(
                (here.cross.reshape(-1), column[host_of].reshape(-1), ends), (len(host_of), total)
            ),
            _scattered(here.schur, column, total),
            taken_slope,
        )
        free = np.full(total, np.inf)
        bounds = (
            np.concatenate((-free, points.inverses * (1 / _MOST_CHANGE - 1))),
            np.concatenate((free, points.inverses * (_MOST_CHANGE - 1))),
        )
        cost = here.cost + self._prior_cost(state.lens)
        return NormalEquations(cost, slope, matrix, apart, bounds)

    def cost(self, tried: Tried) -> float:
        return tried.cost

    def retract(self, tried: Tried, step: np.ndarray) -> Tried:
        state, points = tried.state, tried.state.points
        moves, lens, inverses = np.split(
            step, 6 * np.array([len(state.poses), len(state.poses) + 1])
        )
        fresh = state.lens.copy()
        fresh[:2] *= np.exp(lens[0])
        fresh[4:6] += lens[1:3]
        poses = _moved(state.poses, moves.reshape(-1, 6))
        there = State(poses, fresh, replace(points, inverses=points.inverses + inverses))
        return _tried(there, self.images, self.scale, self._prior_cost(fresh))

    def _prior_cost(self, lens: np.ndarray) -> float:
        return _LIMIT * float(((_lens_change(lens, self.start) / _PRIOR_SIGMAS) ** 2).sum())


def _descended(
    problem: Alignment | PoseAlignment, state: State, steps: int
) -> tuple[State, np.ndarray]:
    found = minimise(problem, Tried(state, np.inf), steps=steps, enough=_ENOUGH).state.state
    return found, compare(found, problem.images, problem.scale, False).energies


def _tried(state: State, images: np.ndarray, scale: int, prior: float) -> Tried:
    """Compare a state; then its gains and offsets follow."""
    tried = compare(state, images, scale, False)
    return Tried(replace(state, points=_relit(state.points, tried.light)), tried.cost + prior)


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


def _scattered(parts: np.ndarray, column: np.ndarray, total: int) -> Any:
    """Sparse sum of hosts' ``k D D`` matrices, whose rows and columns ``column`` tells, ``k D``."""
    from scipy import sparse

    rows = np.broadcast_to(column[:, :, None], parts.shape)
    columns = np.broadcast_to(column[:, None, :], parts.shape)
    filled = parts != 0
    places = (rows[filled], columns[filled])
    return sparse.csc_matrix((parts[filled], places), shape=(total, total))


def _moved(poses: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Poses after ``n 6`` steps about the cameras' centres, as ``photometric_cpu`` has them.

    About the world's origin, turns and shifts of cameras far from it would hardly differ.
    """
    rho, phi = np.split(steps, 2, axis=1)
    turn, places = exp_so3(torch.from_numpy(phi)).numpy(), poses[:, :3, 3]
    swung = np.einsum("nij,nj->ni", turn, places) - places
    twists = torch.from_numpy(np.concatenate((rho + swung, phi), 1))
    return perturb(torch.from_numpy(poses), twists).numpy()
