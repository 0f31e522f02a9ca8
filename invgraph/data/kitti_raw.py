"""Drives in the layout of KITTI's raw recordings."""

import math
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import torch

from invgraph.data.capture import Capture
from invgraph.data.frame import make_frame, make_lens
from invgraph.data.images import image_size
from invgraph.data.kitti import checked_baseline, right_of
from invgraph.data.listing import inside_file, pictures
from invgraph.data.reading import Unreadable, checked_pose, held_out, named
from invgraph.data.text import MissingValue, checked_intrinsics, numbers, read_lines
from invgraph.data.truth import MeasuredMap, Truth
from invgraph.geometry.lens import Lens

_CAMERAS = "calib_cam_to_cam.txt"
_METRES_PER_LEVEL = 1 / 256
_ORDER = ("02", "00", "03", "01")  # colour before grey, left before right
_RIGHT = {"02": "03", "00": "01"}
_EARTH_RADIUS = 6378137.0
_FRACTION = re.compile(r"(?:\.[0-9]*)?")  # of a second
_LOST = re.compile(r"[^0-9]*")


@dataclass(frozen=True)
class _Calibration:
    """A ``key: numbers`` file; keys with words are left out."""

    source: Path
    values: dict[str, np.ndarray]

    def matrix(self, key: str, shape: tuple[int, int]) -> np.ndarray:
        if key not in self.values or self.values[key].size != shape[0] * shape[1]:
            raise ValueError(
                f"{self.source} has no {key} of {shape[0]}x{shape[1]} numbers; download it again."
            )
        return self.values[key].reshape(shape)

    def rigid(self, rotation: str, translation: str | None = None) -> np.ndarray:
        shift = np.zeros((3, 1)) if translation is None else self.matrix(translation, (3, 1))
        pose = np.column_stack([self.matrix(rotation, (3, 3)), shift])
        return checked_pose(pose, f"{self.source}: {rotation}")


def raw_camera(path: Path) -> str | None:
    """Which of ``image_00`` to ``image_03`` is read: left colour, left grey, right colour, ..."""
    return next((name for name in _ORDER if (path / f"image_{name}/data").is_dir()), None)


def read_kitti_raw(path: Path) -> Capture:
    """Read one rectified drive (``DATE_drive_NNNN_sync``) of one camera.

    A left camera's photos come with the right one's (``image_03`` beside ``image_02``, ``image_01``
    beside ``image_00``) where these and the calibration exist. Intrinsics come from
    ``calib_cam_to_cam.txt`` in the drive's folder or the one above, times from ``timestamps.txt``
    (seconds since the first photo). Poses follow from ``oxts`` (GPS and inertial sensors) where the
    calibrations of that chain are present: they are truth, in the frame of the first photo's camera
    0. So is the depth of ``proj_depth/groundtruth``, which comes with KITTI's depth benchmark and
    is copied into the drive.

    Raises:
        ValueError: a file cannot be used; the message names it.

    Source:
        Geiger et al., Vision meets Robotics: The KITTI Dataset (2013), sections II and III; Uhrig
        et al., Sparsity Invariant CNNs (2017), the depth.
    """
    camera = raw_camera(path)
    if camera is None:
        raise ValueError(f"{path} holds no image_00/data to image_03/data.")
    folder = path / f"image_{camera}"
    photos = pictures(folder / "data", path)
    times = _times(inside_file(folder / "timestamps.txt", path), len(photos))
    calibration = _calibration(path, _CAMERAS)
    beside, baseline = _beside(path, camera, calibration)
    unreadable = Unreadable(path)
    frames, names, fixes = [], [], []
    for index, photo in enumerate(photos):
        with unreadable.skipping(photo.name):
            size = image_size(photo, as_stored=True)
            lens = None
            if calibration is not None:
                lens = _lens(calibration, camera, size, photo)
            time = None if times is None else times[index]
            if time is not None and math.isnan(time):
                raise MissingValue(
                    f"{folder / 'timestamps.txt'}: line {index + 1} was lost; download it again."
                )
            right = right_of(photo, beside, baseline, path)
            fix = None
            if calibration is not None:
                fix = _fix(path / "oxts/data" / f"{photo.stem}.txt", path)
            frames.append(make_frame(photo, lens=lens, time=time, right=right, as_stored=True))
            names.append(photo.stem)
            fixes.append(fix)
    unreadable.note_unopened(folder / "data", beside)
    split = held_out(len(frames), unreadable)
    poses = _poses(path, camera, calibration, fixes)
    depth = _depth(path / f"proj_depth/groundtruth/image_{camera}", names, path)
    return Capture(
        path.resolve().name,
        named(frames, path),
        split,
        truth=Truth(poses=poses or (), depth=depth) if poses or depth else None,
        skipped=tuple(unreadable.reasons),
    )


def _calibration(path: Path, name: str) -> _Calibration | None:
    """A calibration of the drive or of its date."""
    for folder in (path, path.resolve().parent):
        source = inside_file(folder / name, folder)
        if source is not None:
            rows = (line.partition(":") for line in read_lines(source))
            named_rows = ((key.strip(), text.split()) for key, _, text in rows)
            values = {
                key: numbers(words, None, f"{source}: {key}")
                for key, words in named_rows
                if words and key not in ("calib_time", "corner_dist") and not key.startswith("#")
            }
            return _Calibration(source, values)
    return None


def _lens(calibration: _Calibration, camera: str, size: tuple[int, int], photo: Path) -> Lens:
    width, height = calibration.matrix(f"S_rect_{camera}", (1, 2))[0]
    if size != (height, width):
        raise ValueError(
            f"{photo} is {size[0]}x{size[1]} (h x w) but rectified photos are {height:g}x{width:g};"
            " download the synced and rectified drive."
        )
    projection = calibration.matrix(f"P_rect_{camera}", (3, 4))
    where = f"{calibration.source}: P_rect_{camera}"
    focal, principal = checked_intrinsics(projection[:, :3], where, centred=True)
    return make_lens(focal, principal, size, where=where)


def _beside(path: Path, camera: str, calibration: _Calibration | None) -> tuple[Path, float]:
    """Where the right camera's photos are, and metres to it; 0 if there is none."""
    right = _RIGHT.get(camera, "")
    folder = path / f"image_{right}/data"
    if calibration is None or not right or not folder.is_dir():
        return folder, 0.0
    ours, other = (calibration.matrix(f"P_rect_{name}", (3, 4)) for name in (camera, right))
    checked_intrinsics(ours[:, :3], f"{calibration.source}: P_rect_{camera}", centred=True)
    return folder, checked_baseline(ours, other, f"{calibration.source}: P_rect_{right}")


def _times(source: Path | None, count: int) -> list[float] | None:
    """Seconds since the first time that is known; NaN where a line holds none."""
    if source is None:
        return None
    lines = [line.strip() for line in read_lines(source) if line.strip()]
    if len(lines) != count:
        raise ValueError(f"{source} has {len(lines)} rows for {count} photos; download it again.")
    try:
        # Nanoseconds: the whole seconds and the fraction are read apart.
        moments = [None if _LOST.fullmatch(line) else _moment(line) for line in lines]
    except ValueError as error:
        raise ValueError(
            f"{source}: {error}; expected times such as 2011-09-26 13:02:25.964389445, without a "
            "zone: download it again."
        ) from None
    first = next((moment for moment in moments if moment is not None), None)
    return [
        math.nan
        if moment is None or first is None
        else (moment[0] - first[0]).total_seconds() + moment[1] - first[1]
        for moment in moments
    ]


def _moment(line: str) -> tuple[datetime, float]:
    if not _FRACTION.fullmatch(line[19:]):
        raise ValueError(f"{line[:60]!r} does not end with a fraction of a second")
    return datetime.strptime(line[:19], "%Y-%m-%d %H:%M:%S"), float(f"0{line[19:]}")


def _fix(source: Path, root: Path) -> np.ndarray | None:
    """Latitude, longitude, altitude, roll, pitch, yaw at one photo; None if not measured."""
    if inside_file(source, root) is None:
        return None
    values = numbers(read_lines(source)[0].split()[:6], None, str(source))
    if len(values) < 6 or abs(values[0]) >= 90:
        raise ValueError(f"{source}: expected latitude, longitude, altitude, roll, pitch, yaw.")
    return values


def _poses(
    path: Path,
    camera: str,
    calibration: _Calibration | None,
    fixes: list[np.ndarray | None],
) -> tuple[torch.Tensor | None, ...] | None:
    """``camera_from_world`` per photo; the world is camera 0 at the first measurement."""
    velo_from_imu = _calibration(path, "calib_imu_to_velo.txt")
    camera_from_velo = _calibration(path, "calib_velo_to_cam.txt")
    if calibration is None or velo_from_imu is None or camera_from_velo is None:
        return None
    if not (path / "oxts/data").is_dir():
        return None
    rectify = calibration.rigid("R_rect_00")
    camera_from_imu = camera_from_velo.rigid("R", "T") @ velo_from_imu.rigid("R", "T")
    reference_from_imu = rectify @ camera_from_imu
    imu_from_reference = np.linalg.inv(reference_from_imu)
    projection = calibration.matrix(f"P_rect_{camera}", (3, 4))
    camera_from_reference = np.eye(4)
    camera_from_reference[:3, 3] = np.linalg.solve(projection[:, :3], projection[:, 3])
    first, scale = None, 1.0
    poses: list[torch.Tensor | None] = []
    for values in fixes:
        if values is None:
            poses.append(None)
            continue
        if first is None:
            scale = math.cos(math.radians(values[0]))
        earth_from_imu = _placement(values, scale)
        if first is None:
            first = earth_from_imu
        start_from_imu = np.linalg.inv(first) @ earth_from_imu
        world_from_reference = reference_from_imu @ start_from_imu @ imu_from_reference
        pose = camera_from_reference @ np.linalg.inv(world_from_reference)
        poses.append(
            torch.from_numpy(checked_pose(pose, str(path / "oxts/data")).astype(np.float32))
        )
    return tuple(poses)


def _depth(folder: Path, names: list[str], root: Path) -> tuple[MeasuredMap | None, ...]:
    if not folder.is_dir():
        return ()
    files = [inside_file(folder / f"{name}.png", root) for name in names]
    return tuple(None if file is None else MeasuredMap(file, _METRES_PER_LEVEL) for file in files)


def _placement(values: np.ndarray, scale: float) -> np.ndarray:
    """``earth_from_imu``: Mercator coordinates in metres, then yaw, pitch, roll."""
    latitude, longitude, altitude, roll, pitch, yaw = values
    pose = np.eye(4)
    pose[:3, 3] = (
        scale * _EARTH_RADIUS * math.radians(longitude),
        scale * _EARTH_RADIUS * math.log(math.tan(math.radians(90 + latitude) / 2)),
        altitude,
    )
    c, s = np.cos([roll, pitch, yaw]), np.sin([roll, pitch, yaw])
    about_x = np.array([[1, 0, 0], [0, c[0], -s[0]], [0, s[0], c[0]]])
    about_y = np.array([[c[1], 0, s[1]], [0, 1, 0], [-s[1], 0, c[1]]])
    about_z = np.array([[c[2], -s[2], 0], [s[2], c[2], 0], [0, 0, 1]])
    pose[:3, :3] = about_z @ about_y @ about_x
    return pose
