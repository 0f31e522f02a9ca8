"""Poses of an object in a sequence of photos, as tables on disk."""

import contextlib
import csv
import io
import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from invgraph.data.reading import checked_pose
from invgraph.files.atomic import append_text, write_atomically
from invgraph.geometry.transforms import matrix_from_quat_wxyz, quat_wxyz_from_matrix
from invgraph.scene.belief import PoseBelief

_AXES = ("x", "y", "z", "rx", "ry", "rz")
_PAIRS = [(i, j) for i in range(6) for j in range(i, 6)]
COLUMNS: tuple[str, ...] = (
    *("frame", "found", "score", "hypotheses", "seconds"),
    *("x_m", "y_m", "z_m", "qw", "qx", "qy", "qz"),
    *(f"cov_{_AXES[i]}_{_AXES[j]}" for i, j in _PAIRS),
)
BOP_COLUMNS = ("scene_id", "im_id", "obj_id", "score", "R", "t", "time")
_MM = 1000.0  # the benchmark's lengths are millimetres


@dataclass(frozen=True, eq=False)
class PoseRow:
    """Where an object was in one photo.

    Attributes:
        frame: the photo's name in its capture.
        found: whether the object was found there.
        score: 0 to 1, how much of what the pose predicts the photo confirms.
        pose: ``camera_from_object``, ``4 4`` float64, metres; where the object was not found, the
            last or likeliest estimate.
        covariance: ``6 6`` float64, of the translation of the object's origin (m), then of the
            rotation vector (rad), both along the camera's axes.
        hypotheses: how many poses explain the photo.
        seconds: that finding it took.
    """

    frame: str
    found: bool
    score: float
    pose: np.ndarray
    covariance: np.ndarray
    hypotheses: int
    seconds: float

    @staticmethod
    def of(frame: str, belief: PoseBelief, seconds: float) -> "PoseRow":
        """The likeliest hypothesis of a belief."""
        return PoseRow(
            frame,
            belief.found,
            float(belief.score),
            belief.pose.detach().double().numpy(),
            belief.covariance.detach().double().numpy(),
            len(belief.weights),
            seconds,
        )

    @property
    def sigma_mm(self) -> float:
        """Standard deviation of the position: root of the summed variances, millimetres."""
        return 1e3 * _root(self.covariance[:3, :3])

    @property
    def sigma_deg(self) -> float:
        """Standard deviation of the rotation: root of the summed variances, degrees."""
        return math.degrees(_root(self.covariance[3:, 3:]))


def _root(covariance: np.ndarray) -> float:
    return math.sqrt(max(float(np.trace(covariance)), 0.0))


def append_row(path: Path, row: PoseRow) -> None:
    """Add one photo at the end of a table, which is begun when missing."""
    append_text(path, _table([*([] if path.exists() else [COLUMNS]), _cells(row)]))


def write_rows(path: str | Path, rows: Sequence[PoseRow]) -> None:
    """Replace a table."""
    write_atomically(Path(path), _table([COLUMNS, *(_cells(row) for row in rows)]).encode())


def _table(rows: Iterable[Iterable[object]]) -> str:
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue()


def read_rows(path: str | Path) -> list[PoseRow]:
    """The rows of a table that :func:`append_row` wrote, up to the first that is damaged.

    A kill may cut the last row off, so what does not parse is the end and no error.

    Raises:
        ValueError: the file has other columns.
        OSError: it cannot be read.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is not a file; give a table of poses.")
    text = path.read_text(encoding="utf-8", errors="replace").replace("\0", "")
    lines = text[: text.rfind("\n") + 1].splitlines()
    if lines and lines[0] != ",".join(COLUMNS):
        raise ValueError(
            f"{path} is no table of poses: expected a first line {','.join(COLUMNS[:4])},..."
        )
    rows: list[PoseRow] = []
    with contextlib.suppress(csv.Error):
        for cells in csv.reader(lines[1:]):
            if (row := _row(cells)) is None:
                break
            rows.append(row)
    return rows


def read_true_poses(path: str | Path) -> dict[str, np.ndarray | None]:
    """True poses ``camera_from_object`` of an object by photo; None for photos without it.

    Args:
        path: JSON, ``{"camera_from_object": {"photo": [[...] * 4], "other": null}}``, metres.

    Raises:
        ValueError: the file is missing or holds something else.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is not a file; give a JSON file with true poses.")
    try:
        poses = json.loads(path.read_bytes())["camera_from_object"]
        items = list(poses.items())
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist; give a JSON file with true poses.") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path} holds no true poses; expected JSON with camera_from_object: a 4x4 matrix or "
            "null by the name of each photo."
        ) from error
    return {
        name: None if matrix is None else checked_pose(matrix, f"{path}: {name}")
        for name, matrix in items
    }


def _cells(row: PoseRow) -> list[Any]:
    rotation = torch.from_numpy(np.ascontiguousarray(row.pose[:3, :3]))
    numbers = [
        *row.pose[:3, 3],
        *quat_wxyz_from_matrix(rotation).numpy(),
        *(row.covariance[i, j] for i, j in _PAIRS),
    ]
    head = [row.frame, int(row.found), f"{row.score:.6g}", row.hypotheses, f"{row.seconds:.4f}"]
    return head + [f"{number:.9g}" for number in numbers]


def _row(cells: list[str]) -> PoseRow | None:
    try:
        frame, found, score, hypotheses, seconds, *rest = cells
        numbers = np.array([float(cell) for cell in rest])
        shift, quat, upper = np.split(numbers, [3, 7])
        covariance = np.zeros((6, 6))
        for (i, j), value in zip(_PAIRS, upper, strict=True):
            covariance[i, j] = covariance[j, i] = value
        pose = np.eye(4)
        pose[:3, :3] = matrix_from_quat_wxyz(torch.from_numpy(quat)).numpy()
        pose[:3, 3] = shift
        told = PoseRow(
            frame, found == "1", float(score), pose, covariance, int(hypotheses), float(seconds)
        )
        # Nothing is known of where an object is that was not found: its covariance may be infinite.
        sound = np.isfinite(pose).all() and math.isfinite(told.score)
        return told if sound and found in ("0", "1") and not np.isnan(covariance).any() else None
    except ValueError:
        return None


def write_bop(path: str | Path, rows: Sequence[tuple[int, PoseRow]], scene: int, item: int) -> None:
    """Write the poses that were found as results of the BOP benchmark.

    Args:
        path: the CSV file: a line per photo with scene, image and object number, score, rotation
            (row by row), translation (mm) and time (s).
        rows: each with the number of its image.
        scene: number of the scene.
        item: number of the object.

    Source:
        BOP challenge, format of the results of 6D localization (bop.felk.cvut.cz/challenges).
    """
    path = Path(path)
    lines = [",".join(BOP_COLUMNS)]
    for image, row in rows:
        if row.found:
            rotation = " ".join(f"{value:.9g}" for value in row.pose[:3, :3].ravel())
            shift = " ".join(f"{value:.9g}" for value in _MM * row.pose[:3, 3])
            score, seconds = f"{row.score:.6g}", f"{row.seconds:.4f}"
            lines.append(f"{scene},{image},{item},{score},{rotation},{shift},{seconds}")
    write_atomically(path, ("\n".join(lines) + "\n").encode())


def bop_number(name: str, otherwise: int) -> int:
    """The number that a file or folder is named by, as in ``000012`` or ``obj_000005``."""
    match = re.fullmatch(r"(?:obj_)?([0-9]{1,9})", name)
    return int(match[1]) if match else otherwise


def append_hypotheses(path: Path, frame: str, belief: PoseBelief) -> None:
    """Add a line with every hypothesis of a belief to a file of JSON lines."""
    record = {
        "frame": frame,
        "weights": belief.weights.tolist(),
        "camera_from_object": belief.poses.tolist(),
        "covariance": belief.covariances.tolist(),
    }
    append_text(path, json.dumps(record) + "\n")


def drop_cut_line(path: Path) -> None:
    """Remove the end of a file of lines that a kill cut off, if there is such a file."""
    data = path.read_bytes() if path.is_file() else b""
    if data and not data.endswith(b"\n"):
        write_atomically(path, data[: data.rfind(b"\n") + 1])


def read_hypotheses(path: str | Path) -> dict[str, list[tuple[float, np.ndarray]]]:
    """Weight and ``camera_from_object`` of every hypothesis, by the photo's name.

    Damaged lines are left out; nothing where there is no such file.
    """
    path = Path(path)
    found: dict[str, list[tuple[float, np.ndarray]]] = {}
    if not path.is_file():
        return found
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
            weights = np.array(record["weights"], np.float64)
            poses = np.array(record["camera_from_object"], np.float64).reshape(len(weights), 4, 4)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            continue
        if np.isfinite(weights).all() and np.isfinite(poses).all():
            name = str(record.get("frame", ""))
            found[name] = list(zip(weights.tolist(), poses, strict=True))
    return found


def read_pose(path: str | Path) -> np.ndarray:
    """Read ``camera_from_object`` from a JSON file that holds a 4x4 matrix, in metres.

    The matrix alone, or under that name.

    Returns:
        ``4 4`` float64, exactly rigid.

    Raises:
        ValueError: no JSON, no 4x4 matrix of finite numbers, or not a rigid motion.
        OSError: the file cannot be read.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is not a file; give a JSON file with a 4x4 matrix.")
    try:
        stored = json.loads(path.read_bytes())
        if isinstance(stored, dict) and "camera_from_object" in stored:
            stored = stored["camera_from_object"]
        matrix = np.array(stored)
        if matrix.dtype.kind not in "fiu":
            raise TypeError("not numbers")
        matrix = matrix.astype(np.float64)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        reason = " ".join(str(error).split())[:100]
        raise ValueError(f"{path} holds no 4x4 matrix of numbers as JSON ({reason}).") from error
    if matrix.shape != (4, 4):
        raise ValueError(
            f"{path}: expected 4 rows of 4 numbers, camera_from_object in metres, but its shape is "
            f"{tuple(matrix.shape)}."
        )
    if not np.isfinite(matrix).all():
        raise ValueError(f"{path} holds NaN or infinity; expected camera_from_object in metres.")
    if np.abs(matrix[3] - (0, 0, 0, 1)).max() > 1e-6:
        last = ", ".join(f"{value:g}" for value in matrix[3])
        raise ValueError(f"{path}: the last row is {last}, expected 0, 0, 0, 1; transpose it?")
    return checked_pose(matrix, str(path))
