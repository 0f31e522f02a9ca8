"""Trajectory errors against numbers computed by hand."""

import math

import pytest
import torch

from invgraph.data.trajectory_files import Trajectory
from invgraph.evaluate.trajectory_metrics import (
    align,
    associate,
    ate_rmse,
    kitti_errors,
    path_length,
    relative_errors,
)
from invgraph.geometry.transforms import exp_se3, exp_so3, pose


def _path(positions: list[list[float]], times: list[float] | None = None) -> Trajectory:
    """A camera that looks along z of the world all the time."""
    centres = torch.tensor(positions, dtype=torch.float64)
    stamps = torch.tensor(times or list(range(len(positions))), dtype=torch.float64)
    return Trajectory(pose(torch.eye(3).double().expand(len(centres), 3, 3), centres), stamps)


def _turning(count: int, step: float, turn_deg: float) -> Trajectory:
    """Every frame goes ``step`` forward, then turns left about y."""
    twist = torch.tensor([0, math.radians(turn_deg), 0], dtype=torch.float64)
    forward = torch.tensor([0, 0, step], dtype=torch.float64)
    move = pose(torch.eye(3).double(), forward) @ pose(exp_so3(twist), 0 * forward)
    poses = [torch.eye(4).double()]
    for _ in range(count - 1):
        poses.append(poses[-1] @ move)
    return Trajectory(torch.stack(poses), torch.arange(count).double())


def _moved(trajectory: Trajectory, scale: float = 1.0) -> Trajectory:
    """The same motion seen from another world."""
    twist = torch.tensor([3.0, -2, 1, 0.5, -1, 2], dtype=torch.float64)
    poses = trajectory.world_from_camera.clone()
    poses[:, :3, 3] *= scale
    return Trajectory(exp_se3(twist) @ poses, trajectory.times)


SQUARE = [[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]


def test_ate_is_the_root_mean_square_distance():
    reference = _path(SQUARE)
    estimate = _path([[0.0, 0, 0], [1, 0, 2], [1, 1, 0], [0, 2, 0]])
    assert ate_rmse(estimate, reference) == pytest.approx(math.sqrt((4 + 1) / 4))


def test_rigid_alignment_does_not_hide_scale_and_similarity_does():
    reference = _path(SQUARE)
    estimate = _moved(_path([[2 * x for x in row] for row in SQUARE]))
    rigid, one = align(estimate, reference, scale=False)
    # About the middle, corners are at sqrt(2) instead of sqrt(1/2).
    assert one == 1
    assert ate_rmse(rigid, reference) == pytest.approx(math.sqrt(0.5))
    similar, half = align(estimate, reference, scale=True)
    assert half == pytest.approx(0.5)
    assert ate_rmse(similar, reference) == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(similar.world_from_camera, reference.world_from_camera)


def test_best_scale_of_a_noisy_square():
    # Along x the estimate is twice as long: corners at (+-1, +-1/2) for (+-1/2, +-1/2).
    reference = _path(SQUARE)
    estimate = _path([[2 * x, y, z] for x, y, z in SQUARE])
    aligned, scale = align(estimate, reference, scale=True)
    # Least squares: sum of products 4 (1/2 + 1/4) over 4 (1 + 1/4); what is left per corner:
    # (0.6 - 0.5)^2 + (0.3 - 0.5)^2.
    assert scale == pytest.approx(0.6)
    assert ate_rmse(aligned, reference) == pytest.approx(math.sqrt(0.05))


def test_relative_error_of_a_camera_that_turns_too_much():
    reference, estimate = _turning(9, 1.0, 0.0), _turning(9, 1.0, 3.0)
    shift, angle = relative_errors(estimate, reference)
    # In one frame the shift is right and the turn is 3 degrees.
    assert (shift, angle) == (pytest.approx(0, abs=1e-12), pytest.approx(3))
    shift, angle = relative_errors(estimate, reference, delta=2)
    # In two frames it ends at (sin 3, 1 + cos 3) instead of (0, 2).
    turn = math.radians(3)
    expected = math.hypot(math.sin(turn), 1 - math.cos(turn))
    assert (shift, angle) == (pytest.approx(expected), pytest.approx(6))


def test_relative_error_is_a_root_mean_square_and_does_not_see_the_world():
    reference = _path([[0.0, 0, z] for z in (0, 1, 2, 3)])
    estimate = _moved(_path([[0.0, 0, z] for z in (0, 1, 3, 2)]))
    # Steps 1, 2, -1 instead of 1, 1, 1.
    shift, angle = relative_errors(estimate, reference)
    assert (shift, angle) == (pytest.approx(math.sqrt((0 + 1 + 4) / 3)), pytest.approx(0, abs=1e-6))


def test_kitti_errors_of_a_wrong_scale():
    reference = _turning(131, 1.0, 0.0)
    estimate = _moved(reference, scale=1.1)
    found = kitti_errors(estimate, reference)
    # Ends are at the first pose beyond 100 m, 101 m on: an error of 10.1 m in 100 m. Starts 0 and
    # 10, and 20 which ends at pose 121; 30 would end at 131, which is not there.
    assert found.t_err_pct == pytest.approx(10.1)
    assert found.r_err_deg_per_100m == pytest.approx(0, abs=1e-5)
    assert (found.segments, found.lengths) == (3, (100,))
    scaled, _ = align(estimate, reference, scale=True)
    assert kitti_errors(scaled, reference).t_err_pct == pytest.approx(0, abs=1e-9)


def test_kitti_errors_of_a_camera_that_turns_too_much():
    reference, estimate = _turning(16, 1.0, 0.0), _turning(16, 1.0, 1.0)
    found = kitti_errors(estimate, reference, lengths=[4.0, 9.5])
    # Segments: 0-5 and 10-15 of 4 m, 0-10 of 9.5 m; turns of 5, 5 and 10 degrees.
    assert (found.segments, found.lengths) == (3, (4.0, 9.5))
    assert found.r_err_deg_per_100m == pytest.approx(100 * (5 / 4 + 5 / 4 + 10 / 9.5) / 3)

    def shift(frames: int) -> float:
        angles = [math.radians(k) for k in range(frames)]
        return math.hypot(sum(map(math.sin, angles)), frames - sum(map(math.cos, angles)))

    expected = 100 * (2 * shift(5) / 4 + shift(10) / 9.5) / 3
    assert found.t_err_pct == pytest.approx(expected)


def test_path_length_adds_up():
    found = path_length(_path([[0.0, 0, 0], [3, 4, 0], [3, 4, 2]]))
    assert found.tolist() == [0, 5, 7]


def test_association_takes_mutual_neighbours_within_the_gap():
    reference = _path([[float(k), 0, 0] for k in range(4)], [0.0, 1.0, 2.0, 3.0])
    times = [-0.015, 0.9, 0.99, 1.005, 3.01, 3.5]
    estimate = _path([[k / 10, 0, 0] for k in range(6)], times)
    ours, theirs = associate(estimate, reference)
    # 0.9 is too far; of 0.99 and 1.005 the second is nearer to 1; nothing is near 2.
    assert ours.times.tolist() == [-0.015, 1.005, 3.01]
    assert theirs.times.tolist() == [0, 1, 3]
    assert theirs.world_from_camera[:, 0, 3].tolist() == [0, 1, 3]
    torch.testing.assert_close(
        ours.world_from_camera[:, 0, 3], torch.tensor([0, 0.3, 0.4]).double()
    )


def test_association_of_another_clock_says_so():
    late = _path(SQUARE, [1000.0, 1001.0, 1002.0, 1003.0])
    with pytest.raises(ValueError, match="estimate is from 0 to 3 s, the reference from 1000 to"):
        associate(_path(SQUARE), late)


def test_what_cannot_be_scored_is_refused():
    square, shorter = _path(SQUARE), _path(SQUARE[:3])
    still = _path([[1.0, 2, 3]] * 4)
    for call in (
        lambda: ate_rmse(shorter, square),
        lambda: relative_errors(shorter, square),
        lambda: kitti_errors(shorter, square),
        lambda: align(shorter, square, scale=True),
    ):
        with pytest.raises(ValueError, match="has 3 poses but the reference 4"):
            call()
    with pytest.raises(ValueError, match="reference does not move"):
        align(square, still, scale=True)
    with pytest.raises(ValueError, match="all points are in one place"):
        align(still, square, scale=True)
    with pytest.raises(ValueError, match="give at least 3"):
        align(_path(SQUARE[:2]), _path(SQUARE[:2]), scale=False)
    for delta in (0, 4):
        with pytest.raises(ValueError, match="expected 1 to 3 for 4 poses"):
            relative_errors(square, square, delta)
    with pytest.raises(ValueError, match=r"path is 3 m long, shorter than a segment of 100 m"):
        kitti_errors(square, square)
    for lengths in ([], [0.0], [math.nan]):
        with pytest.raises(ValueError, match="positive metres"):
            kitti_errors(square, square, lengths)
