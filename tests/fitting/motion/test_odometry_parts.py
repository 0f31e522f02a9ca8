"""The pieces of odometry: following points, first depths, direct alignment."""

from dataclasses import replace

import numpy as np
import pytest

from invgraph.fitting.motion.alignment import Points, State, compare, moved_poses
from invgraph.fitting.motion.depths_cpu import search
from invgraph.fitting.motion.flow_cpu import follow
from invgraph.fitting.motion.patch_normals import slanted
from invgraph.fitting.motion.pixel_selection import best_of_cells
from invgraph.fitting.motion.pyramids import pyramid, shrinking
from invgraph.fitting.motion.tracks import follow_points
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
    poses = moved_poses(np.tile(np.eye(4), (3, 1, 1)), 0.02 * random.normal(size=(3, 6)))
    points = Points.plain(
        np.array([0, 1]),
        np.array([0, 6, 12]),
        random.uniform([20, 15], [60, 45], (12, 2)),
        random.uniform(0.5, 1.5, 12),
        np.array([[1, 2], [2, -1]]),
    )
    points = replace(points, gains=points.gains + 0.05)
    return State(poses, LENS, points), images


def _slope(states: tuple[State, State], images: np.ndarray, step: float) -> float:
    ahead, behind = (compare(state, images, 1, False).cost for state in states)
    return (ahead - behind) / (2 * step)


def _shared_slopes(state: State, images: np.ndarray) -> np.ndarray:
    """Half the cost's gradient by frames' poses and, last, by the lens."""
    linear = compare(state, images, 1, True)
    total = np.zeros((4, 6))
    for unit, blocks in enumerate(((0, 1, 2, 3), (1, 2, None, 3))):
        for place, block in enumerate(blocks):
            if block is not None:
                total[block] += linear.slopes[unit, 6 * place : 6 * place + 6]
    return total


def test_slopes_by_poses() -> None:
    state, images = _state()
    slopes = 2 * _shared_slopes(state, images)
    step = 1e-6  # few kinks of bilinear levels lie within it
    for frame in range(3):
        for axis in range(6):
            change = np.zeros((3, 6))
            change[frame, axis] = step
            both = tuple(
                replace(state, poses=moved_poses(state.poses, sign * change)) for sign in (1, -1)
            )
            measured = _slope((both[0], both[1]), images, step)
            assert abs(measured) > 1
            assert slopes[frame, axis] == pytest.approx(measured, rel=2e-3)


def test_slopes_by_lens() -> None:
    state, images = _state()
    slopes = 2 * _shared_slopes(state, images)[3]
    step = 1e-6  # few kinks of bilinear levels lie within it
    for axis in range(3):
        lenses = []
        for sign in (1, -1):
            lens = state.lens.copy()
            if axis == 0:
                lens[:2] *= np.exp(sign * step)
            else:
                lens[3 + axis] += sign * step
            lenses.append(replace(state, lens=lens))
        measured = _slope((lenses[0], lenses[1]), images, step)
        assert abs(measured) > 0.1
        assert slopes[axis] == pytest.approx(measured, rel=2e-3)


def test_slopes_by_inverse_depth() -> None:
    state, images = _state()
    parts = compare(state, images, 1, True).depth_parts
    step = 1e-6  # few kinks of bilinear levels lie within it
    for index in range(12):
        both = []
        for sign in (1, -1):
            inverses = state.points.inverses.copy()
            inverses[index] += sign * step
            both.append(replace(state, points=replace(state.points, inverses=inverses)))
        measured = _slope((both[0], both[1]), images, step)
        assert 2 * parts[index, 1] == pytest.approx(measured, rel=1e-3, abs=1e-2)


def test_curvature_is_that_of_the_residuals() -> None:
    """One unknown by hand: Gauss-Newton's entry of a depth is the sum of squared derivatives."""
    state, images = _state()
    linear = compare(state, images, 1, True)
    # What eliminating depths takes away never exceeds what is there.
    for own, taken in zip(linear.cameras, linear.schur, strict=True):
        assert np.linalg.eigvalsh(own - taken).min() > -1e-6 * np.abs(own).max()
    assert (linear.depth_parts[:, 0] > 0).all()
