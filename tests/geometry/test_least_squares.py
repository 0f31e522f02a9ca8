"""Damped least squares against answers by hand, dense solutions and its own single problems."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
from scipy import sparse

from invgraph.geometry import least_squares
from invgraph.geometry.least_squares import (
    NormalEquations,
    Problem,
    Solution,
    cauchy,
    eliminate,
    huber,
    minimise,
    weighted_equations,
)


def squared(squares: np.ndarray, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    return squares, np.ones_like(squares)


@dataclass
class Line:
    """Values ``*batch k`` at ``k`` places, explained by ``*batch 2``: offset and slope."""

    places: np.ndarray
    values: np.ndarray
    loss: Callable = squared

    def _errors(self, state: np.ndarray) -> np.ndarray:
        return state[..., :1] + state[..., 1:] * self.places - self.values

    def linearise(self, state: np.ndarray) -> NormalEquations:
        errors = self._errors(state)
        jacobian = np.stack((np.ones_like(self.places), self.places), -1)
        losses, weights = self.loss(errors**2)
        jacobian = np.broadcast_to(jacobian, (*errors.shape, 2))
        return weighted_equations(errors, jacobian, weights, losses)

    def cost(self, state: np.ndarray) -> np.ndarray:
        return self.loss(self._errors(state) ** 2)[0].sum(-1)

    def retract(self, state: np.ndarray, step: np.ndarray) -> np.ndarray:
        return state + step


class Rosenbrock:
    """Residuals ``10 (y - x²)`` and ``1 - x`` of ``*batch 2``; the answer is (1, 1)."""

    def linearise(self, state: np.ndarray) -> NormalEquations:
        x, y = state[..., 0], state[..., 1]
        errors = np.stack((10 * (y - x**2), 1 - x), -1)
        jacobian = np.zeros((*errors.shape, 2))
        jacobian[..., 0, 0], jacobian[..., 0, 1], jacobian[..., 1, 0] = -20 * x, 10, -1
        return weighted_equations(errors, jacobian, np.ones_like(errors), errors**2)

    def cost(self, state: np.ndarray) -> np.ndarray:
        x, y = state[..., 0], state[..., 1]
        return 100 * (y - x**2) ** 2 + (1 - x) ** 2

    def retract(self, state: np.ndarray, step: np.ndarray) -> np.ndarray:
        return state + step


def solved(problem: Problem, state: np.ndarray, **settings: float) -> Solution:
    given = {"steps": 100, "enough": 1e-12} | settings
    return minimise(problem, state, **given)  # pyright: ignore[reportArgumentType]


def test_a_linear_problem_takes_one_step() -> None:
    """Through (0, 1), (1, 2), (2, 6): by hand offset 0.5, slope 2.5, residuals -0.5, 1, -0.5."""
    line = Line(np.arange(3.0), np.array([1.0, 2.0, 6.0]))
    found = solved(line, np.zeros(2), damping=1e-12, enough=1e-6)
    np.testing.assert_allclose(found.state, [0.5, 2.5], atol=1e-9)
    assert found.cost == pytest.approx(1.5)
    assert (found.ended, found.steps) == ("converged", 1)


def test_damping_is_relative_to_the_diagonal() -> None:
    """By hand: the diagonal is (3, 5), so a damping of 1 doubles it."""
    line = Line(np.arange(3.0), np.array([1.0, 2.0, 6.0]))
    found = solved(line, np.zeros(2), damping=1.0, steps=1)
    np.testing.assert_allclose(found.state, np.linalg.solve([[6, 3], [3, 10]], [9, 14]))
    assert found.ended == "steps"


def test_the_valley_of_rosenbrock() -> None:
    found = solved(Rosenbrock(), np.array([-1.2, 1.0]))
    np.testing.assert_allclose(found.state, [1, 1], atol=1e-6)
    assert found.ended == "converged"


@pytest.mark.parametrize("loss", [cauchy, huber])
def test_weights_are_slopes_of_losses(loss) -> None:
    squares = np.array([0.0, 0.3, 2.0, 3.9, 4.1, 50.0])
    step = 1e-6
    ahead, behind = loss(squares + step, 2.0)[0], loss(np.maximum(squares - step, 0), 2.0)[0]
    measured = (ahead - behind) / (squares + step - np.maximum(squares - step, 0))
    np.testing.assert_allclose(loss(squares, 2.0)[1], measured, rtol=1e-6)
    # Small errors count as they are; by hand for 50.
    small = np.array([1e-8])
    np.testing.assert_allclose(loss(small, 2.0)[0], small, rtol=1e-6)
    by_hand = {cauchy: 4 * np.log(13.5), huber: 4 * np.sqrt(50.0) - 4}[loss]
    assert loss(squares, 2.0)[0][-1] == pytest.approx(by_hand)


@pytest.mark.parametrize(
    ("loss", "off"), [(squared, (1.0, 99.0)), (huber, (0, 0.2)), (cauchy, (0, 0.02))]
)
def test_outliers_hardly_count_under_a_robust_loss(loss, off) -> None:
    random = np.random.default_rng(0)
    places = np.linspace(-1, 1, 60)
    values = 0.7 - 2 * places + 0.01 * random.normal(size=60)
    values[::6] += random.uniform(20, 40, 10)
    found = solved(Line(places, values, partial(loss, scale=0.05)), np.zeros(2))
    away = np.abs(found.state - [0.7, -2]).max()
    assert off[0] <= away < off[1]
    assert found.ended == "converged"


def test_steps_stay_within_their_bounds() -> None:
    """From zeros to (0.5, 2.5) by at most 0.1 up, and back by at most 0.05, straight ahead."""

    class Bounded(Line):
        def linearise(self, state: np.ndarray) -> NormalEquations:
            down, up = np.full(state.shape, -0.05), np.full(state.shape, 0.1)
            return replace(super().linearise(state), bounds=(down, up))

    line = Bounded(np.arange(3.0), np.array([1.0, 2.0, 6.0]))
    settings = {"damping": 1e-12, "steps": 1}
    up = solved(line, np.zeros(2), **settings).state
    np.testing.assert_allclose(up, [0.02, 0.1], rtol=1e-6)
    down = solved(line, np.array([1.5, 4.5]), **settings).state
    np.testing.assert_allclose(down, [1.475, 4.45], rtol=1e-6)
    both = solved(line, np.array([[0.0, 0.0], [1.5, 4.5]]), **settings).state
    np.testing.assert_array_equal(both, [up, down])
    end = solved(line, np.zeros(2))
    np.testing.assert_allclose(end.state, [0.5, 2.5], rtol=1e-5)
    assert (end.ended, end.steps) == ("converged", 25)


class Drawn:
    """Random linear residuals of four shared unknowns and of blocks of others."""

    def __init__(self, width: int, bounded: bool = False) -> None:
        random = np.random.default_rng(width)
        self.width, self.count, self.bounded = width, 5, bounded
        shared = random.normal(size=(self.count, 6, 4))
        own = random.normal(size=(self.count, 6, width))
        rows = [np.kron(np.eye(self.count)[block], own[block]) for block in range(self.count)]
        self.jacobian = np.concatenate((shared.reshape(-1, 4), np.concatenate(rows)), 1)
        self.values = random.normal(size=len(self.jacobian))

    def retract(self, state: np.ndarray, step: np.ndarray) -> np.ndarray:
        return state + step

    def cost(self, state: np.ndarray) -> float:
        return float(((self.jacobian @ state - self.values) ** 2).sum())

    def whole(self, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.jacobian.T @ self.jacobian, self.jacobian.T @ (
            self.jacobian @ state - self.values
        )

    def linearise(self, state: np.ndarray) -> NormalEquations:
        matrix, slope = self.whole(state)
        size = self.count * self.width
        starts = 4 + self.width * np.arange(self.count)
        blocks = np.stack([matrix[s : s + self.width, s : s + self.width] for s in starts])
        own = slope[4:].reshape(self.count, self.width)
        apart = eliminate(blocks, own, sparse.csr_matrix(matrix[4:, :4]))
        bounds = None
        if self.bounded:
            reach = np.concatenate((np.full(4, np.inf), np.full(size, 0.6)))
            bounds = (-reach, reach)
        return NormalEquations(self.cost(state), slope[:4], matrix[:4, :4], apart, bounds)


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("damping", [1e-9, 0.5])
def test_eliminating_blocks_is_the_dense_solution(width: int, damping: float) -> None:
    problem = Drawn(width)
    matrix, slope = problem.whole(np.zeros(4 + 5 * width))
    for start in range(4, len(slope), width):
        block = slice(start, start + width)
        matrix[block, block] *= 1 + damping
    matrix[:4, :4] += damping * np.diag(np.diag(matrix)[:4])
    found = solved(problem, np.zeros(len(slope)), damping=damping, steps=1, enough=0.0)
    np.testing.assert_allclose(found.state, -np.linalg.solve(matrix, slope), rtol=1e-6, atol=1e-9)


def test_a_sparse_matrix_is_solved_like_a_dense_one() -> None:
    class Sparse(Drawn):
        def linearise(self, state: np.ndarray) -> NormalEquations:
            found = super().linearise(state)
            return NormalEquations(
                found.cost, found.slope, sparse.csc_matrix(found.matrix), found.eliminated
            )

    dense, thin = (solved(kind(3), np.zeros(19), steps=1) for kind in (Drawn, Sparse))
    np.testing.assert_allclose(thin.state, dense.state, rtol=1e-9)


def test_an_eliminated_block_is_shortened_alone() -> None:
    start = np.zeros(19)
    free = solved(Drawn(3), start, steps=1).state
    held = solved(Drawn(3, bounded=True), start, steps=1).state
    np.testing.assert_array_equal(held[:4], free[:4])
    for block in range(4, 19, 3):
        most = np.abs(free[block : block + 3]).max()
        share = min(1.0, 0.6 / most)
        np.testing.assert_allclose(held[block : block + 3], share * free[block : block + 3])
    assert (held != free).any()


@pytest.mark.parametrize("bounded", [False, True])
def test_a_gain_is_what_the_linear_model_says(bounded: bool) -> None:
    """A linear problem gains all that is expected: none is tried when that is far too little."""
    problem = Drawn(3)
    start = solved(problem, np.zeros(19)).state + 1e-3
    best = solved(problem, start).cost
    gain = problem.cost(start) - float(best)
    for share, steps in ((0.99, 1), (1.01, 0)):
        enough = share * gain / problem.cost(start) / least_squares._TRUSTED
        found = solved(problem, start, enough=enough, damping=1e-9)
        assert (found.ended, found.steps) == ("converged", steps)


def test_a_batch_is_its_items_one_by_one() -> None:
    starts = np.array([[[-1.2, 1.0], [3.0, -4.0]], [[1.0, 1.0], [0.0, 30.0]]])
    every = solved(Rosenbrock(), starts, enough=1e-6)
    assert every.state.shape == (2, 2, 2) and every.cost.shape == (2, 2)
    assert len(np.unique(every.steps)) > 2
    for index in np.ndindex(2, 2):
        one = solved(Rosenbrock(), starts[index], enough=1e-6)
        np.testing.assert_array_equal(every.state[index], one.state)
        assert every.cost[index] == one.cost
        assert (every.ended[index], every.steps[index]) == (one.ended, one.steps)


def test_singular_problems_stay_finite() -> None:
    """Two unknowns of which only the sum shows, and one that nothing shows."""

    class Sum:
        def linearise(self, state: np.ndarray) -> NormalEquations:
            errors = state[:1] + state[1:2] - 4
            jacobian = np.array([[1.0, 1.0, 0.0]])
            return weighted_equations(errors, jacobian, np.ones(1), errors**2)

        def cost(self, state: np.ndarray) -> float:
            return float((state[0] + state[1] - 4) ** 2)

        def retract(self, state: np.ndarray, step: np.ndarray) -> np.ndarray:
            return state + step

    found = solved(Sum(), np.array([1.0, 2.0, 7.0]))
    np.testing.assert_allclose(found.state, [1.5, 2.5, 7.0], atol=1e-6)
    assert found.ended == "converged"


def test_blocks_that_nothing_tells_stay_where_they_are() -> None:
    class Unseen(Drawn):
        def linearise(self, state: np.ndarray) -> NormalEquations:
            self.jacobian[:, 4:7] = 0
            self.jacobian[:, 8] = self.jacobian[:, 7]
            return super().linearise(state)

    problem = Unseen(3)
    found = solved(problem, np.ones(19))
    np.testing.assert_array_equal(found.state[4:7], 1)
    assert np.isfinite(found.state).all() and np.isfinite(found.cost)
    best = np.linalg.lstsq(problem.jacobian, problem.values, rcond=None)[0]
    assert found.cost == pytest.approx(problem.cost(best), rel=1e-6)


class Backwards(Rosenbrock):
    """Steps lead away from the answer."""

    def retract(self, state: np.ndarray, step: np.ndarray) -> np.ndarray:
        return state - step


def test_it_says_why_it_ended() -> None:
    start = np.array([-1.2, 1.0])
    assert solved(Rosenbrock(), start, steps=3).ended == "steps"
    none = solved(Rosenbrock(), start, steps=0)
    assert (none.ended, none.steps) == ("steps", 0)
    np.testing.assert_array_equal(none.state, start)
    assert solved(Rosenbrock(), np.ones(2)).ended == "converged"
    stuck = solved(Backwards(), start)
    assert (stuck.ended, stuck.steps) == ("stuck", 0)
    np.testing.assert_array_equal(stuck.state, start)
    assert solved(Backwards(), start, tries=2).ended == "stuck"


def test_what_is_not_finite_is_left_and_harms_no_other() -> None:
    class Cliff(Rosenbrock):
        """No states beyond x = 0.5."""

        def cost(self, state: np.ndarray) -> np.ndarray:
            return np.where(state[..., 0] > 0.5, np.nan, super().cost(state))

    starts = np.array([[-1.2, 1.0], [np.nan, 0.0], [0.4, 0.1]])
    found = solved(Cliff(), starts)
    assert (found.ended[1], found.steps[1]) == ("stuck", 0)
    assert np.isfinite(found.state[[0, 2]]).all() and (found.state[[0, 2], 0] <= 0.5).all()
    assert (found.cost[[0, 2]] < Rosenbrock().cost(starts[[0, 2]])).all()


def test_the_equations_are_those_of_the_last_state_but_one() -> None:
    start = np.array([-1.2, 1.0])
    found = solved(Rosenbrock(), start, steps=1)
    np.testing.assert_array_equal(found.equations.slope, Rosenbrock().linearise(start).slope)
