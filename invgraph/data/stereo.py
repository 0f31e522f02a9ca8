"""Rectified stereo pairs."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from invgraph.data.capture import Capture
from invgraph.data.frame import make_camera, make_frame, make_lens
from invgraph.data.listing import SUFFIXES, inside, inside_file
from invgraph.data.reading import Unreadable, named
from invgraph.data.text import checked_intrinsics, numbers, read_lines, scaled_to
from invgraph.data.truth import MeasuredMap, Truth

_WIDEST = 1e6  # metres
_METRES = 0.001  # Middlebury's baselines are millimetres


@dataclass(frozen=True)
class StereoCalibration:
    """What a rectified pair's cameras have in common, and what not.

    A point seen ``d`` pixels further left in the right photo lies at depth
    ``focal * baseline / (d + offset)``.

    Args:
        focal: pixels, of both cameras.
        principal: of the left camera, pixels from the corner.
        baseline: metres from the left camera to the right one.
        offset: by how much the right camera's principal point lies further right, pixels.
        size: (height, width) that the pixels refer to.
    """

    focal: float
    principal: tuple[float, float]
    baseline: float
    offset: float
    size: tuple[int, int]


def find_pair(path: Path) -> tuple[Path, Path] | None:
    """The left and right photo of a folder: im0 and im1, left and right, or X_left and X_right."""
    if not path.is_dir():
        return None
    files = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
    names = {p.stem: p for p in files}
    pairs = [
        (names[left], names[right])
        for left in names
        for right in (_partner(left),)
        if right in names
    ]
    return pairs[0] if len(pairs) == 1 else None


def _partner(stem: str) -> str:
    if stem == "im0":
        return "im1"
    return re.sub(r"(^|[_-])left$", r"\1right", stem) if stem.endswith("left") else ""


def read_stereo(path: Path) -> Capture:
    """Read a rectified pair with Middlebury's ``calib.txt``; nothing is held out.

    The world is the left camera. Without ``calib.txt`` the cameras are unknown; give them by
    ``with_calibration``. Disparity (``disp0.pfm``, ``disp0GT.pfm`` or ``X_disp.npz`` and so on) is
    truth of the left photo, ``disp1`` of the right one.

    Raises:
        ValueError: a file cannot be used; the message names it.

    Source:
        Scharstein et al., High-Resolution Stereo Datasets with Subpixel-Accurate Ground Truth
        (2014), description of the calibration files.
    """
    pair = find_pair(path)
    if pair is None:
        raise ValueError(
            f"{path} holds no stereo pair; expected im0 and im1, left and right, or X_left and "
            "X_right."
        )
    unreadable = Unreadable(path)
    frames = []
    for photo in pair:
        with unreadable.skipping(photo.name):
            frames.append(make_frame(inside(path, photo.name, path), as_stored=True))
    unreadable.require(len(frames), 2)
    if frames[0].size != frames[1].size:
        raise ValueError(
            f"{pair[0]} is {frames[0].size[0]}x{frames[0].size[1]} (h x w) but {pair[1].name} is "
            f"{frames[1].size[0]}x{frames[1].size[1]}; rectify the pair again."
        )
    unreadable.note_unopened(path)
    maps = tuple(_disparity(path, pair[0], side) for side in (0, 1))
    capture = Capture(
        path.resolve().name,
        named(frames, path),
        (),
        truth=Truth(disparity=maps) if any(maps) else None,
        skipped=tuple(unreadable.reasons),
    )
    calibration = inside_file(path / "calib.txt", path)
    return (
        capture if calibration is None else with_calibration(capture, read_calibration(calibration))
    )


def with_calibration(capture: Capture, calibration: StereoCalibration) -> Capture:
    """A rectified pair with its two cameras; the world is the left camera.

    Args:
        capture: of two photos, left first.
        calibration: of these photos, or of the same ones at another size.

    Raises:
        ValueError: not two photos, or of another shape than the calibration's.
    """
    if len(capture.frames) != 2:
        raise ValueError(f"{capture.name} has {len(capture.frames)} photos, expected a pair.")
    frames = []
    for side, frame in enumerate(capture.frames):
        cx, cy = calibration.principal
        focal, principal = scaled_to(
            (calibration.focal, calibration.focal),
            (cx + side * calibration.offset, cy),
            calibration.size,
            frame.size,
            str(frame.image_path),
        )
        pose = np.eye(4)
        pose[0, 3] = -side * calibration.baseline
        lens = make_lens(focal, principal, frame.size, where=str(frame.image_path))
        frames.append(replace(frame, camera=make_camera(pose, lens)))
    return replace(capture, frames=tuple(frames))


def read_calibration(source: Path) -> StereoCalibration:
    """Read Middlebury's ``calib.txt``, whose integers are pixel centres.

    Raises:
        ValueError: a value is missing or is no number.
    """
    values = {}
    for line in read_lines(source):
        key, sign, text = line.partition("=")
        if sign:
            values[key.strip()] = re.sub(r"[\[\];,]", " ", text).split()

    def get(key: str, count: int) -> np.ndarray:
        if key not in values:
            raise ValueError(f"{source} has no {key}=...; expected Middlebury's calib.txt.")
        return numbers(values[key], count, f"{source}: {key}")

    left, right = (get(f"cam{side}", 9).reshape(3, 3) for side in (0, 1))
    focal, principal = checked_intrinsics(left, f"{source}: cam0", centred=True)
    focal_right, principal_right = checked_intrinsics(right, f"{source}: cam1", centred=True)
    spread = max(focal[0], focal[1], *focal_right) - min(focal[0], focal[1], *focal_right)
    if spread > 1e-3 * focal[0] or abs(principal[1] - principal_right[1]) > 0.01:
        raise ValueError(
            f"{source}: cam0 and cam1 differ in more than cx; rectify the pair so that equal rows "
            "show equal points."
        )
    baseline = float(get("baseline", 1)[0]) * _METRES
    width, height = int(get("width", 1)[0]), int(get("height", 1)[0])
    if not 0 < baseline < _WIDEST or min(width, height) < 1:
        raise ValueError(
            f"{source}: baseline, width, height should be positive, and the baseline at most "
            f"{_WIDEST:g} m."
        )
    offset = principal_right[0] - principal[0]
    return StereoCalibration(focal[0], principal, baseline, offset, (height, width))


def _disparity(path: Path, left: Path, side: int) -> MeasuredMap | None:
    stems = [f"disp{side}", f"disp{side}GT"]
    if side == 0:
        prefix = re.sub(r"left$", "", left.stem)
        stems += [f"{prefix}disp", f"{prefix}disparity"]
    for stem in stems:
        for suffix in (".pfm", ".npz", ".npy"):
            if (path / f"{stem}{suffix}").is_file():
                return MeasuredMap(inside(path, f"{stem}{suffix}", path))
    return None
