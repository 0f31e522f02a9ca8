"""Damped least squares, for one problem or a batch of small ones.

Written in numpy: who fits this way does so on the CPU, half of them with sparse matrices, for which
torch has no solver, and numpy solves the small dense systems of the others in a third of the time.
"""

from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, Shaped

_START, _LEAST, _MOST = 1e-4, 1e-8, 1e6  # damping, relative to the matrix' diagonal
_FACTOR = 8.0  # by which it falls after a step that helped and rises after one that did not
_TRUSTED = 0.01  # of what is enough: a step that is expected to gain less is not even tried
_FLOOR = 1e-9  # of a block's diagonal, so that a point at infinity leaves it invertible

StateT = TypeVar("StateT")


@dataclass(frozen=True, eq=False)
class Eliminated:
    """Unknowns in small blocks that meet the others but not each other, such as points.

    Attributes:
        inverses: ``m p p``, of the matrix' blocks of these unknowns.
        slope: ``m p``, theirs.
        between: ``m p x n``, sparse: the matrix' entries between these and the other unknowns.
        taken: ``n n``, sparse or not: what eliminating takes from the others' matrix.
        taken_slope: and from their slope.
    """

    inverses: Float[np.ndarray, "m p p"]
    slope: Float[np.ndarray, "m p"]
    between: Any
    taken: Any
    taken_slope: Float[np.ndarray, " n"]


def eliminate(
    blocks: Float[np.ndarray, "m p p"], slope: Float[np.ndarray, "m p"], between: Any
) -> Eliminated:
    """The Schur complement of blocks; arguments as in :class:`Eliminated`.

    Source:
        Triggs et al., Bundle adjustment: a modern synthesis (2000), section 6.1.
    """
    from scipy import sparse

    count, width = slope.shape
    diagonal = np.einsum("mii->mi", blocks)
    floor = _FLOOR * np.where(diagonal > 0, diagonal, 1.0)
    inverses = np.linalg.inv(blocks + floor[..., None] * np.eye(width))
    places = np.arange(count), np.arange(count + 1)
    inverse = sparse.bsr_matrix((inverses, *places), shape=(count * width, count * width))
    carried = (inverse.tocsr() @ between).T
    taken = (carried @ between).toarray()
    return Eliminated(inverses, slope, between, taken, carried @ slope.reshape(-1))


@dataclass(frozen=True, eq=False)
class NormalEquations:
    """Gauss-Newton's equations ``matrix step = -slope`` at a state.

    For residuals e with derivatives J and weights w the cost is the sum of w e², the slope Jᵀ w e,
    the matrix Jᵀ w J. For a loss ρ(e²) the weights are ρ'(e²), so the slope is half of the cost's
    gradient.

    Attributes:
        cost: ``*batch``.
        slope: ``*batch n``.
        matrix: ``*batch n n``; beside eliminated unknowns it may be sparse.
        eliminated: further unknowns, of a problem that is no batch; a step has theirs behind.
        bounds: how much each unknown may fall and rise in one step. A step that is too long is
            shortened as a whole, but what is eliminated by blocks.
    """

    cost: float | Float[np.ndarray, "*batch"]
    slope: Float[np.ndarray, "*batch n"]
    matrix: Any
    eliminated: Eliminated | None = None
    bounds: tuple[Float[np.ndarray, "*batch all"], Float[np.ndarray, "*batch all"]] | None = None


def weighted_equations(
    errors: Float[np.ndarray, "*batch k"],
    jacobian: Float[np.ndarray, "*batch k n"],
    weights: Float[np.ndarray, "*batch k"],
    losses: Float[np.ndarray, "*batch k"],
) -> NormalEquations:
    """Normal equations of residuals; the cost is the sum of ``losses``."""
    scaled = jacobian * weights[..., None]
    slope = np.einsum("...kn,...k->...n", scaled, errors)
    return NormalEquations(np.asarray(losses.sum(-1)), slope, jacobian.swapaxes(-1, -2) @ scaled)


def cauchy(
    squares: Float[np.ndarray, "*batch"], scale: float = 1.0
) -> tuple[Float[np.ndarray, "*batch"], Float[np.ndarray, "*batch"]]:
    """Losses and weights of squared errors; those beyond ``scale`` count ever less."""
    share = squares / scale**2
    return scale**2 * np.log1p(share), 1 / (1 + share)


def huber(
    squares: Float[np.ndarray, "*batch"], scale: float = 1.0
) -> tuple[Float[np.ndarray, "*batch"], Float[np.ndarray, "*batch"]]:
    """Losses and weights of squared errors; those beyond ``scale`` pull as one of that size."""
    size = np.sqrt(np.maximum(squares, scale**2))
    return np.where(squares < scale**2, squares, 2 * scale * size - scale**2), scale / size


@runtime_checkable
class Problem(Protocol[StateT]):
    """A cost over states: a sum of squares of which every item of a batch has its own."""

    def linearise(self, state: StateT, /) -> NormalEquations:
        """Cost and normal equations at a state."""
        ...

    def cost(self, state: StateT, /) -> float | np.ndarray:
        """``*batch``; not finite where a state is impossible."""
        ...

    def retract(self, state: StateT, step: np.ndarray, /) -> StateT:
        """The state a step on. In a batch a step of zeros leads to the very same state."""
        ...


@dataclass(frozen=True, eq=False)
class Solution(Generic[StateT]):
    """Where a descent ended.

    Attributes:
        state: the best one.
        cost: ``*batch``, there.
        ended: ``*batch``, why: "converged", the last step gained or the next would gain too little;
            "stuck", no damping found a step that helps; "steps", all were taken.
        steps: ``*batch``, how many were taken.
        equations: the last ones made; the state is at most one step ahead of them.
    """

    state: StateT
    cost: Float[np.ndarray, "*batch"]
    ended: Shaped[np.ndarray, "*batch"]
    steps: Int[np.ndarray, "*batch"]
    equations: NormalEquations


def minimise(
    problem: Problem[StateT],
    state: StateT,
    *,
    steps: int,
    enough: float,
    tries: int = 100,
    damping: float = _START,
) -> Solution[StateT]:
    """Levenberg-Marquardt steps: less damping while they help, more until they do.

    Items of a batch have a damping each, and end each on its own.

    Args:
        problem: what is to be made small.
        state: where to start.
        steps: at most.
        enough: share of the cost that a step must gain for another one to follow.
        tries: how many dampings in a row may fail.
        damping: the first one, relative to the matrix' diagonal.

    Source:
        Levenberg (1944), Marquardt (1963); expected gain: Madsen, Nielsen & Tingleff, Methods for
        non-linear least squares problems (2004), eq. 3.14.
    """
    equations = problem.linearise(state)
    cost = np.asarray(equations.cost, float)
    dampings = np.full(cost.shape, damping)
    taken, failed = np.zeros(cost.shape, int), np.zeros(cost.shape, int)
    ended = np.full(cost.shape, "" if steps > 0 else "steps", dtype="U9")
    while True:
        least = enough * np.where(np.isfinite(cost), cost, 0.0)
        step, expected = _damped_step(equations, dampings)
        # What expects no finite gain has no finite step either.
        little = ~(expected > _TRUSTED * least) & (ended == "")
        arrived = (failed == 0) & np.isfinite(expected)
        ended = np.where(little, np.where(arrived, "converged", "stuck"), ended)
        going = ended == ""
        if not going.any():
            break
        step = _bounded(np.where(going[..., None], step, 0.0), equations)
        there = problem.retract(state, step)
        value = np.asarray(problem.cost(there), float)
        better = going & (value < cost)
        if (better == going).all():
            state = there
        elif better.any():
            state = problem.retract(state, np.where(better[..., None], step, 0.0))
        small = better & (cost - value <= least)
        cost = np.where(better, value, cost)
        taken = np.where(better, taken + 1, taken)
        failed = np.where(better, 0, failed + 1)
        dampings = np.where(better, np.maximum(dampings / _FACTOR, _LEAST), dampings * _FACTOR)
        hopeless = going & ((failed >= tries) | (dampings > _MOST))
        ended = np.select(
            [small, better & (taken >= steps), hopeless], ["converged", "steps", "stuck"], ended
        )
        if (ended != "").all():
            break
        if better.any():
            equations = problem.linearise(state)
            cost = np.asarray(equations.cost, float)
    return Solution(state, cost, ended, taken, equations)


def _damped_step(equations: NormalEquations, dampings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A step, and by how much the linear model says that it lowers the cost."""
    matrix, slope, apart = equations.matrix, equations.slope, equations.eliminated
    diagonal = np.einsum("...nn->...n", matrix) if apart is None else matrix.diagonal()
    # What nothing tells anything about stays where it is.
    added = dampings[..., None] * np.where(diagonal > 0, diagonal, 1.0)
    if apart is None:
        damped = matrix + added[..., None] * np.eye(slope.shape[-1])
        step = -np.linalg.solve(damped, slope[..., None])[..., 0]
        return step, np.asarray((added * step * step - slope * step).sum(-1))
    # Blocks are damped as a whole, so what they take shrinks by one factor.
    share = 1 / (1 + float(dampings))
    step = -_solved(matrix - share * apart.taken, added, slope - share * apart.taken_slope)
    pulls = apart.slope + (apart.between @ step).reshape(apart.slope.shape)
    own = -share * np.einsum("mij,mj->mi", apart.inverses, pulls)
    gain = (added * step * step - slope * step).sum()
    gain -= (own * apart.slope).sum() + (1 - share) * (own * pulls).sum()
    return np.concatenate((step, own.reshape(-1))), np.asarray(gain)


def _solved(matrix: Any, added: np.ndarray, right: np.ndarray) -> np.ndarray:
    from scipy import sparse
    from scipy.sparse.linalg import spsolve

    if sparse.issparse(matrix):
        return np.asarray(spsolve((matrix + sparse.diags(added)).tocsc(), right))
    return np.linalg.solve(matrix + np.diag(added), right)


def _bounded(step: np.ndarray, equations: NormalEquations) -> np.ndarray:
    if equations.bounds is None:
        return step
    share = np.ones_like(step)
    for bound, over in zip(equations.bounds, (np.less, np.greater), strict=True):
        np.divide(bound, step, out=share, where=over(step, bound))
    count = equations.slope.shape[-1]
    share[..., :count] = share[..., :count].min(-1, keepdims=True)
    if equations.eliminated is not None:
        width = equations.eliminated.slope.shape[1]
        share[count:] = np.repeat(share[count:].reshape(-1, width).min(1), width)
    return share * step
