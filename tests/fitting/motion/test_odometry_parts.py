"""The pieces of odometry: following points, first depths, direct alignment."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from invgraph.fitting.motion.alignment import (
    Alignment,
    Points,
    PoseAlignment,
    State,
    Tried,
    compare,
)
from invgraph.fitting.motion.depths_cpu import search
from invgraph.fitting.motion.flow_cpu import follow
from invgraph.fitting.motion.patch_normals import slanted
from invgraph.fitting.motion.pixel_selection import best_of_cells
from invgraph.fitting.motion.pyramids import pyramid, shrinking
from invgraph.fitting.motion.tracks import follow_points
from invgraph.geometry.transforms import perturb
from invgraph.kernels.threads import launch

LENS = np.array([70.0, 72.0, 40.0, 30.0, 0.05, -0.03, 0.001, -0.002, 0.01, 0.04, 0.02, -0.01])


def waves(height: int, width: int, shift_u: float = 0.0, shift_v: float = 0.0) -> np.ndarray:
    """Levels of a smooth pattern moved by a shift, exact at any place."""
    v, u = np.mgrid[0:height, 0:width] + 0.5
    u, v = u - shift_u, v - shift_v
    levels = np.full((height, width), 128.0)
    for a, b, c in ((0.31, 0.12, 0.0), (-0.15, 0.27, 1.0), (0.05, 0.43, 2.0), (0.44, -0.06, 4.0)):
        levels += 20 * np.sin(a * u + b * v + c)
    return levels.astype(np.float32)


def test_points_follow_a_known_shift() -> None:
    here, there = pyramid(waves(120, 160)), pyramid(waves(120, 160, 3.3, -1.6) + 15)
    places = np.array([[60.5, 50.5], [90.5, 70.5], [40.5, 80.5]])
    found = places.copy()
    launch(follow, here, there, places, found, 0.5)
    np.testing.assert_allclose(found - places, [[3.3, -1.6]] * 3, atol=0.06)


def test_points_that_leave_the_picture_are_lost() -> None:
    here, there = pyramid(waves(120, 160)), pyramid(waves(120, 160, 12.0, 0.0))
    places = np.array([[152.5, 60.5], [60.5, 60.5]])
    found = places + np.array([12.0, 0.0])
    launch(follow, here, there, places, found, 0.5)
    assert np.isnan(found[0]).all()
    np.testing.assert_allclose(found[1], [72.5, 60.5], atol=0.06)


def test_keyframes_are_some_motion_apart() -> None:
    """2 pixels a frame, 4 % of 160: a keyframe whenever more than 6.4 pixels are gone."""
    tracks = follow_points(pyramid(waves(120, 160, 2.0 * index)) for index in range(10))
    assert tracks.keyframes == [0, 4, 8, 9]
    assert tracks.moved == pytest.approx(8.0, abs=0.1)
    numbers, places = tracks.points[3], tracks.places[3]
    shared = np.intersect1d(tracks.points[0], numbers, return_indices=True)
    moved = places[shared[2]] - tracks.places[0][shared[1]]
    np.testing.assert_allclose(np.median(moved, 0), [6.0, 0.0], atol=0.05)


def test_best_of_cells_by_hand() -> None:
    scores = np.zeros((4, 6))
    scores[0, 1], scores[1, 0], scores[3, 2], scores[2, 3] = 5, 4, 7, 9
    taken = np.array([[1.5, 0.5]])  # the cell of the first two
    np.testing.assert_array_equal(best_of_cells(scores, 2, 3.0, taken), [[3.5, 2.5]])
    free = best_of_cells(scores, 2, 3.0, np.zeros((0, 2)))
    np.testing.assert_array_equal(free, [[1.5, 0.5], [3.5, 2.5]])


@pytest.mark.parametrize(("size", "factor"), [((480, 640), 2), ((360, 480), 1), ((2160, 3840), 7)])
def test_shrinking_keeps_at_most_200000_pixels(size: tuple[int, int], factor: int) -> None:
    assert shrinking(size) == factor
    assert size[0] * size[1] / factor**2 <= 200_000


def test_search_finds_the_depth_of_a_wall() -> None:
    """A wall at depth 2 and a camera that moves by 0.2 to the right: a shift of -8 pixels."""
    images = np.stack([waves(90, 120), waves(90, 120, -8.0), waves(90, 120, 8.0)])
    poses = np.tile(np.eye(4), (3, 1, 1))
    poses[1, 0, 3], poses[2, 0, 3] = -0.2, 0.2
    lens = np.array([80.0, 80.0, 60.0, 45.0, *[0] * 8])
    places = np.array([[50.5, 40.5], [70.5, 50.5], [60.5, 30.5]])
    inverses, likeness = np.zeros(3), np.zeros((3, 2))
    candidates = np.linspace(0.1, 1.5, 64)[None]
    launch(
        search,
        images,
        np.array([0]),
        np.array([0, 3]),
        places,
        np.array([[1, 2]]),
        poses,
        lens,
        candidates,
        inverses,
        likeness,
    )
    np.testing.assert_allclose(inverses, 0.5, atol=0.005)
    assert (likeness[:, 0] > 0.98).all()
    assert (likeness[:, 1] < likeness[:, 0]).all()


def test_slants_of_a_plane() -> None:
    """Inverse depth 0.5 + 0.2 x - 0.1 y is a plane's; faith in upright surfaces shrinks it."""
    v, u = (14 * (np.mgrid[0:8, 0:10] + 0.5)).reshape(2, -1)
    lens = np.array([100.0, 100.0, 70.0, 56.0, *[0] * 8])
    inverses = 0.5 + 0.2 * (u - 70) / 100 - 0.1 * (v - 56) / 100
    places = np.stack((u, v), 1)
    count = np.array([0, len(u)])
    points = Points.plain(np.array([0]), count, places, inverses, np.array([[1]]))
    inner = ((places > 20) & (places < [120, 92])).all(1)
    slants = slanted(points, lens).slants[inner]
    np.testing.assert_allclose(slants, [[0.2, -0.1]] * len(slants), rtol=0.25)


def _state() -> tuple[State, np.ndarray]:
    """Two hosts, three frames, a distorted lens: nothing is special."""
    random = np.random.default_rng(0)
    images = np.stack([waves(60, 80), waves(60, 80, 1.0), waves(60, 80, -0.7)])
    twists = torch.from_numpy(0.02 * random.normal(size=(3, 6)))
    poses = perturb(torch.eye(4, dtype=torch.float64), twists).numpy()
    poses[:, 0, 3] += 0.5  # the world's origin is elsewhere
    points = Points.plain(
        np.array([0, 1]),
        np.array([0, 6, 12]),
        random.uniform([20, 15], [60, 45], (12, 2)),
        random.uniform(0.5, 1.5, 12),
        np.array([[1, 2], [2, -1]]),
    )
    points = replace(points, gains=points.gains + 0.05)
    return State(poses, LENS, points), images


def test_slopes_are_half_of_the_costs_gradient() -> None:
    """By three poses, the lens and twelve inverse depths."""
    state, images = _state()
    start = LENS.copy()
    start[:2], start[4:6] = 0.98 * start[:2], start[4:6] + 0.01
    problem, tried = Alignment(images, 1, start), Tried(state, np.inf)
    equations = problem.linearise(tried)
    assert equations.eliminated is not None
    slopes = 2 * np.concatenate((equations.slope, equations.eliminated.slope[:, 0]))
    unit = 1e-6 * np.eye(len(slopes))  # few kinks of bilinear levels lie within it
    for axis, slope in enumerate(slopes):
        ahead, behind = (problem.retract(tried, sign * unit[axis]).cost for sign in (1, -1))
        measured = (ahead - behind) / 2e-6
        padding = 21 <= axis < 24
        assert padding or abs(measured) > 0.1
        assert slope == pytest.approx(measured, rel=2e-3, abs=1e-2)


def test_slopes_of_one_pose_are_half_of_the_costs_gradient() -> None:
    state, images = _state()
    points = replace(state.points, targets=np.array([[2], [2]]), gains=state.points.gains[:, :1])
    problem, tried = PoseAlignment(images, 1, 2), Tried(replace(state, points=points), np.inf)
    slopes = 2 * problem.linearise(tried).slope
    for axis, slope in enumerate(slopes):
        step = 1e-6 * np.eye(6)[axis]
        ahead, behind = (problem.retract(tried, sign * step).cost for sign in (1, -1))
        assert abs(slope) > 1
        assert slope == pytest.approx((ahead - behind) / 2e-6, rel=2e-3)


def test_steps_lead_to_inverse_depths_between_a_third_and_three_times() -> None:
    state, images = _state()
    least, most = Alignment(images, 1, LENS).linearise(Tried(state, np.inf)).bounds or ((), ())
    np.testing.assert_allclose(state.points.inverses + least[-12:], state.points.inverses / 3)
    np.testing.assert_allclose(state.points.inverses + most[-12:], state.points.inverses * 3)
    assert np.isinf(least[:-12]).all() and np.isinf(most[:-12]).all()


def test_curvature_is_that_of_the_residuals() -> None:
    """One unknown by hand: Gauss-Newton's entry of a depth is the sum of squared derivatives."""
    state, images = _state()
    linear = compare(state, images, 1, True)
    # What eliminating depths takes away never exceeds what is there.
    for own, taken in zip(linear.cameras, linear.schur, strict=True):
        assert np.linalg.eigvalsh(own - taken).min() > -1e-6 * np.abs(own).max()
    assert (linear.depth_parts[:, 0] > 0).all()
