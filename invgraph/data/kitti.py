"""Drives in the layout of the KITTI odometry benchmark."""

from pathlib import Path

import numpy as np
import torch

from invgraph.data.capture import Capture
from invgraph.data.frame import Right, make_frame, make_lens
from invgraph.data.images import image_size
from invgraph.data.listing import inside, inside_file, pictures
from invgraph.data.reading import Unreadable, checked_pose, held_out, named
from invgraph.data.text import (
    MissingValue,
    checked_intrinsics,
    numbers,
    read_lines,
    read_table,
)
from invgraph.data.truth import Truth
from invgraph.geometry import convert

_ORDER = (2, 0, 3, 1)  # colour before grey, left before right
_LEFT = (0, 2)
_WIDEST = 1e6  # metres


def odometry_camera(path: Path) -> int | None:
    """Which of ``image_0`` to ``image_3`` is read: left colour, left grey, right colour, ..."""
    if not (path / "calib.txt").is_file():
        return None
    return next((i for i in _ORDER if (path / f"image_{i}").is_dir()), None)


def read_kitti(path: Path) -> Capture:
    """Read one sequence: ``image_N``, ``calib.txt``, ``times.txt`` and its poses.

    Photos of one camera are read, a left one's with those of the right one (``image_3`` beside
    ``image_2``, ``image_1`` beside ``image_0``). Intrinsics come from row PN of the calibration
    (integers are pixel centres there, so half a pixel is added). Poses come from ``poses.txt``
    beside the calibration or from ``../../poses/SEQUENCE.txt``: they are truth, in the frame of the
    first reference camera.

    Raises:
        ValueError: a file cannot be used; the message names it.

    Source:
        Geiger et al., Are we ready for Autonomous Driving? The KITTI Vision Benchmark Suite (2012).
    """
    number = odometry_camera(path)
    if number is None:
        raise ValueError(f"{path} holds no calib.txt beside image_0 to image_3.")
    photos = pictures(path / f"image_{number}", path)
    calibration = inside(path, "calib.txt", path)
    projection = _projection(calibration, number)
    focal, principal = checked_intrinsics(
        projection[:, :3], f"{calibration}: P{number}", centred=True
    )
    times = _table(inside_file(path / "times.txt", path), 1, len(photos), "rows")
    beside = path / f"image_{number + 1}"
    baseline = 0.0
    if number in _LEFT and beside.is_dir():
        other = _projection(calibration, number + 1)
        baseline = checked_baseline(projection, other, str(calibration))
    source = _poses_file(path)
    known = _table(source, 12, len(photos), "poses")
    unreadable = Unreadable(path)
    frames, poses = [], []
    for index, photo in enumerate(photos):
        with unreadable.skipping(photo.name):
            size = image_size(photo, as_stored=True)
            lens = make_lens(focal, principal, size, where=f"{calibration}: P{number}")
            time = None if times is None else float(_row(times, index)[0])
            right = right_of(photo, beside, baseline, path)
            pose = None
            if known is not None:
                row = _row(known, index).reshape(3, 4)
                pose = _pose(projection, checked_pose(row, f"{source}: row {index + 1}")[:3], size)
            frames.append(make_frame(photo, lens=lens, time=time, right=right, as_stored=True))
            poses.append(pose)
    unreadable.note_unopened(path / f"image_{number}", beside)
    split = held_out(len(frames), unreadable)
    return Capture(
        path.resolve().name,
        named(frames, path),
        split,
        truth=None if known is None else Truth(poses=tuple(poses)),
        skipped=tuple(unreadable.reasons),
    )


def checked_baseline(left: np.ndarray, right: np.ndarray, where: str) -> float:
    """Metres from the left camera to the right one, by their 3x4 projections.

    Args:
        left: whose focal length is checked.
        right: of the other camera.
        where: file, for the message.

    Raises:
        ValueError: no stereo pair is that wide.
    """
    baseline = float((left[0, 3] - right[0, 3]) / left[0, 0])
    if not abs(baseline) < _WIDEST:
        raise ValueError(
            f"{where}: the right camera is {baseline:g} m from the left one, expected less than "
            f"{_WIDEST:g}; download the calibration again."
        )
    return baseline


def right_of(photo: Path, folder: Path, baseline: float, root: Path) -> Right | None:
    """The photo of the same name in the right camera's folder, if there is one.

    Args:
        photo: the left camera's.
        folder: of the right camera's photos.
        baseline: metres; 0 or less if there is no right camera.
        root: the capture's folder.

    Raises:
        ValueError: a link that leads out of ``root``.
    """
    beside = inside_file(folder / photo.name, root) if baseline > 0 else None
    return None if beside is None else Right(beside, baseline)


def _projection(source: Path, number: int) -> np.ndarray:
    """Row PN as 3x4; the rows may come without their labels."""
    lines = [line.strip() for line in read_lines(source)]
    lines = [line for line in lines if line and not line.startswith("#")]
    parts = [line.partition(":") for line in lines]
    labelled = {label.strip(): text.split() for label, colon, text in parts if colon}
    bare = [line.split() for line in lines if ":" not in line]
    words = labelled.get(f"P{number}") or (bare[number] if number < len(bare) else None)
    if words is None:
        raise ValueError(f"{source} has no row P{number} for image_{number}; download it again.")
    return numbers(words, 12, f"{source}: P{number}").reshape(3, 4)


_Table = tuple[np.ndarray, dict[int, str]]  # as read_table gives it


def _table(source: Path | None, columns: int, count: int, what: str) -> _Table | None:
    """One row of numbers per photo; ``what`` they are, for messages."""
    if source is None:
        return None
    rows, missing = read_table(source, columns)
    if len(rows) != count:
        raise ValueError(
            f"{source} has {len(rows)} {what} for {count} photos; remove it or download the "
            "sequence again."
        )
    return rows, missing


def _row(table: _Table, index: int) -> np.ndarray:
    rows, missing = table
    if index in missing:
        raise MissingValue(missing[index])
    return rows[index]


def _poses_file(path: Path) -> Path | None:
    """The file of ``world_from_reference`` rows, one per photo."""
    folder = path.resolve()
    above = folder.parent.parent
    beside = inside_file(path / "poses.txt", path)
    return beside or inside_file(above / "poses" / f"{folder.name}.txt", above)


def _pose(projection: np.ndarray, row: np.ndarray, size: tuple[int, int]) -> torch.Tensor:
    camera = convert.from_kitti(torch.from_numpy(projection), torch.from_numpy(row), *size)
    return camera.camera_from_world.float()
