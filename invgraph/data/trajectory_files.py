"""The motion of a camera through a recording, as text files of the TUM and KITTI benchmarks."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.data.reading import checked_pose
from invgraph.data.text import read_lines, read_numbers
from invgraph.files.atomic import write_atomically
from invgraph.geometry import transforms

_TUM, _KITTI = 8, 12  # numbers in a line
_QUATERNION_OFF = 0.01  # of length 1, the most that rounding in a file explains


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Where a camera was over time.

    Attributes:
        world_from_camera: float64 rigid poses, metres or an arbitrary scale; camera x right,
            y down, z forward.
        times: float64 seconds, increasing; the frame's index where the recording has no clock.

    Raises:
        ValueError: no poses, not float64, not as many times as poses, NaN, a pose that is not
            rigid, or times that do not increase.
    """

    world_from_camera: Float[Tensor, "n 4 4"]
    times: Float[Tensor, " m"]

    def __post_init__(self) -> None:
        poses, times = self.world_from_camera, self.times
        if poses.ndim != 3 or poses.shape[1:] != (4, 4) or times.shape != poses.shape[:1]:
            raise ValueError(
                f"expected poses (n, 4, 4) and times (n,) but got {tuple(poses.shape)} and "
                f"{tuple(times.shape)}; give one time per pose."
            )
        if not len(poses):
            raise ValueError("a trajectory needs at least 1 pose but got none.")
        if poses.dtype != torch.float64 or times.dtype != torch.float64:
            raise ValueError(
                f"poses are {poses.dtype} and times {times.dtype}, expected torch.float64; "
                "convert by .double()."
            )
        for index, matrix in enumerate(poses.detach().cpu().numpy()):
            checked_pose(matrix, f"pose {index}")
        if not bool(times.isfinite().all()):
            raise ValueError("times hold NaN or infinity; give seconds.")
        late = (times.diff() <= 0).nonzero()
        if len(late):
            index = int(late[0, 0])
            raise ValueError(
                f"times should increase but pose {index + 1} is at {times[index + 1].item()} s "
                f"after {times[index].item()} s; sort the poses and keep one per time."
            )

    def __len__(self) -> int:
        return len(self.times)


def read_trajectory(path: str | Path) -> Trajectory:
    """Read a trajectory; the count of numbers in its first line says which format it is.

    TUM: ``time tx ty tz qx qy qz qw``. KITTI: the first three rows of the 4x4 pose, and the times
    are the indices of the lines. Both hold ``world_from_camera``. Blank lines and # lines are left
    out; lines of TUM are sorted by time.

    Raises:
        ValueError: the file is missing, of neither format, or does not hold a trajectory.

    Source:
        Sturm et al., A Benchmark for the Evaluation of RGB-D SLAM Systems (2012); Geiger et al.,
        Are we ready for Autonomous Driving? The KITTI Vision Benchmark Suite (2012).
    """
    path = Path(path)
    columns = _columns(path)
    if columns not in (_TUM, _KITTI):
        raise ValueError(
            f"{path} has {columns} words in its first line, expected {_TUM} numbers "
            f"(TUM: time tx ty tz qx qy qz qw) or {_KITTI} (KITTI: rows of world_from_camera)."
        )
    rows = read_numbers(path, columns)
    try:
        if columns == _TUM:
            rows = rows[np.argsort(rows[:, 0], kind="stable")]
            return Trajectory(_tum_poses(rows), torch.from_numpy(rows[:, 0].copy()))
        poses = [checked_pose(row, f"pose {i}") for i, row in enumerate(rows.reshape(-1, 3, 4))]
        times = torch.arange(len(poses), dtype=torch.float64)
        return Trajectory(torch.from_numpy(np.stack(poses)), times)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def has_times(path: Path) -> bool:
    """Whether a trajectory file says when its poses were: TUM does, KITTI does not.

    Raises:
        ValueError: as for :func:`read_trajectory`.
    """
    return _columns(path) == _TUM


def write_tum(path: str | Path, trajectory: Trajectory) -> None:
    """Write lines of ``time tx ty tz qx qy qz qw`` of ``world_from_camera``, in one step."""
    path = Path(path)
    poses = trajectory.world_from_camera.detach().cpu()
    quats = transforms.quat_wxyz_from_matrix(poses[:, :3, :3])[:, [1, 2, 3, 0]]
    rows = torch.cat((poses[:, :3, 3], quats), 1).tolist()
    lines = ["# time tx ty tz qx qy qz qw, world_from_camera"]
    for time, row in zip(trajectory.times.tolist(), rows, strict=True):
        lines.append(f"{time:.9f} {_words(row)}")
    write_atomically(path, ("\n".join(lines) + "\n").encode())


def write_kitti(path: str | Path, trajectory: Trajectory) -> None:
    """Write lines of the 12 numbers of ``world_from_camera``, in one step; times are lost."""
    path = Path(path)
    rows = trajectory.world_from_camera.detach().cpu()[:, :3].flatten(1).tolist()
    write_atomically(path, "".join(f"{_words(row)}\n" for row in rows).encode())


def _columns(path: Path) -> int:
    for line in read_lines(path):
        if line.strip() and not line.lstrip().startswith("#"):
            return len(line.replace(",", " ").split())
    raise ValueError(f"{path} holds no poses; give a trajectory in TUM or KITTI format.")


def _tum_poses(rows: np.ndarray) -> Tensor:
    lengths = np.linalg.norm(rows[:, 4:], axis=1)
    wrong = np.flatnonzero(np.abs(lengths - 1) > _QUATERNION_OFF)
    if len(wrong):
        raise ValueError(
            f"pose {wrong[0]} has a quaternion of length {lengths[wrong[0]]:.4g}, expected 1; "
            "the order of a line is time tx ty tz qx qy qz qw."
        )
    rotations = transforms.matrix_from_quat_wxyz(torch.from_numpy(rows[:, [7, 4, 5, 6]]))
    return transforms.pose(rotations, torch.from_numpy(rows[:, 1:4]))


def _words(values: list[float]) -> str:
    return " ".join(f"{value:.12g}" for value in values)
