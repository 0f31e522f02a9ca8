"""Trajectories as text: hand-written lines, round trips, damaged files."""

import math
from pathlib import Path

import pytest
import torch

from invgraph.data.trajectory_files import Trajectory, read_trajectory, write_kitti, write_tum
from invgraph.geometry.transforms import exp_se3


def _random(count: int) -> Trajectory:
    generator = torch.Generator().manual_seed(1)
    twists = torch.randn(count, 6, generator=generator, dtype=torch.float64)
    times = 1305031102.175304 + 0.033 * torch.arange(count, dtype=torch.float64)
    return Trajectory(exp_se3(twists), times)


def _file(folder: Path, text: str) -> Path:
    path = folder / "trajectory.txt"
    path.write_text(text)
    return path


def test_tum_line_is_time_position_and_quaternion_with_w_last(tmp_path: Path) -> None:
    half = math.sqrt(0.5)
    path = _file(tmp_path, f"# comment\n\n10.5 1 2 3 0 0 {half} {half}\n10.6 1 2 4 0 0 0 1\n")
    found = read_trajectory(path)
    assert found.times.tolist() == [10.5, 10.6]
    # A quarter turn about z takes x to y.
    turn = [[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]]
    expected = torch.tensor(turn, dtype=torch.float64)
    torch.testing.assert_close(found.world_from_camera[0], expected)
    assert found.world_from_camera[1, :3, 3].tolist() == [1, 2, 4]
    assert len(found) == 2


def test_kitti_line_is_the_upper_rows_of_the_pose(tmp_path: Path) -> None:
    found = read_trajectory(_file(tmp_path, "1 0 0 5 0 0 -1 6 0 1 0 7\n1 0 0 0 0 1 0 0 0 0 1 0\n"))
    expected = [[1, 0, 0, 5], [0, 0, -1, 6], [0, 1, 0, 7], [0, 0, 0, 1]]
    assert found.world_from_camera[0].tolist() == expected
    assert found.times.tolist() == [0, 1]


def test_tum_keeps_poses_and_microseconds(tmp_path: Path) -> None:
    trajectory = _random(20)
    write_tum(tmp_path / "new" / "t.txt", trajectory)
    found = read_trajectory(tmp_path / "new" / "t.txt")
    torch.testing.assert_close(
        found.world_from_camera, trajectory.world_from_camera, atol=1e-10, rtol=0
    )
    torch.testing.assert_close(found.times, trajectory.times, atol=1e-6, rtol=0)


def test_kitti_keeps_poses(tmp_path: Path) -> None:
    trajectory = _random(20)
    write_kitti(tmp_path / "k.txt", trajectory)
    found = read_trajectory(tmp_path / "k.txt")
    torch.testing.assert_close(
        found.world_from_camera, trajectory.world_from_camera, atol=1e-10, rtol=0
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no poses"),
        ("# only words\n", "holds no poses"),
        ("1 2 3\n", "has 3 words in its first line, expected 8"),
        ("a photo of a red cat and mice\n", "expected 8 numbers but got 'a photo"),
        ("0 0 0 0 0 0 0 1\n1 0 0 0 0 0 0\n", "line 2: expected 8 numbers"),
        ("0 nan 0 0 0 0 0 1\n", "NaN or infinity"),
        ("0 0 0 0 0 0 0 0\n", "pose 0 has a quaternion of length 0"),
        ("0 1 0 0 0 1 2 3\n", "quaternion of length 3.742"),
        ("1 0 0 0 0 0 0 1\n1 0 0 0 0 0 0 1\n", "times should increase but pose 1"),
        ("2 0 0 0 0 1 0 0 0 0 1 0\n", "pose 0: the pose is not rigid"),
    ],
)
def test_bad_files_are_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    path = _file(tmp_path, text)
    with pytest.raises(ValueError, match=message) as caught:
        read_trajectory(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_lines_of_tum_are_sorted_by_time(tmp_path: Path) -> None:
    path = _file(tmp_path, "2 5 0 0 0 0 0 1\n0.5 4 0 0 0 0 0 1\n1 6 0 0 0 0 0 1\n")
    found = read_trajectory(path)
    assert found.times.tolist() == [0.5, 1, 2]
    assert found.world_from_camera[:, 0, 3].tolist() == [4, 6, 5]


def test_missing_and_binary_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"absent\.txt does not exist or is not a file"):
        read_trajectory(tmp_path / "absent.txt")
    (tmp_path / "noise").write_bytes(bytes(range(128, 256)))
    with pytest.raises(ValueError, match="not readable text"):
        read_trajectory(tmp_path / "noise")


def test_trajectory_refuses_what_it_cannot_mean() -> None:
    poses, times = torch.eye(4).double().expand(2, 4, 4), torch.tensor([0.0, 1.0]).double()
    with pytest.raises(ValueError, match="one time per pose"):
        Trajectory(poses, times[:1])
    with pytest.raises(ValueError, match="at least 1 pose"):
        Trajectory(poses[:0], times[:0])
    with pytest.raises(ValueError, match=r"expected torch\.float64"):
        Trajectory(poses.float(), times)
    with pytest.raises(ValueError, match="times hold NaN"):
        Trajectory(poses, times * math.nan)
    with pytest.raises(ValueError, match="pose 0: the pose holds NaN"):
        Trajectory(poses * math.nan, times)
