"""Recordings in the layout of the TUM RGB-D benchmark."""

import re
from pathlib import Path

import numpy as np
import torch

from invgraph.data.capture import Capture
from invgraph.data.frame import make_frame, make_lens
from invgraph.data.images import inside
from invgraph.data.reading import Unreadable, checked_pose, held_out, named
from invgraph.data.text import numbers, read_lines, read_numbers
from invgraph.data.truth import MeasuredMap, Truth
from invgraph.geometry import transforms
from invgraph.geometry.lens import Lens

_SIZE = (480, 640)
# Colour cameras as the benchmark's site publishes them (fx fy cx cy, then Brown's distortion);
# integers are pixel centres. Photos of the third are undistorted already.
_CAMERAS = {
    "1": ((517.3, 516.5, 318.6, 255.3), (0.2624, -0.9531, -0.0054, 0.0026, 1.1633)),
    "2": ((520.9, 521.0, 325.1, 249.7), (0.2312, -0.7849, -0.0033, -0.0001, 0.9172)),
    "3": ((535.4, 539.2, 320.1, 247.6), None),
}
_METRES_PER_LEVEL = 1 / 5000
_LARGEST_GAP_S = 0.02


def is_tum(path: Path) -> bool:
    """Whether a folder holds ``rgb.txt`` beside ``rgb``."""
    return (path / "rgb.txt").is_file() and (path / "rgb").is_dir()


def read_tum(path: Path) -> Capture:
    """Read ``rgb.txt`` and its photos; depth and ``groundtruth.txt`` are truth.

    Depth and poses belong to the photo whose time stamp is nearest, if it is within 0.02 s. Times
    count from the first photo. Which camera it was follows from ``freiburg1`` to ``freiburg3`` in
    the folder's name, else the intrinsics are unknown.

    Raises:
        ValueError: a file cannot be used; the message names it.

    Source:
        Sturm et al., A Benchmark for the Evaluation of RGB-D SLAM Systems (2012).
    """
    stamps, photos = _listed(path / "rgb.txt", path)
    depth = _depth(path, stamps)
    poses = _poses(path / "groundtruth.txt", stamps)
    lens = _lens(path.resolve().name)
    unreadable = Unreadable(path / "rgb.txt")
    frames, kept = [], []
    for index, photo in enumerate(photos):
        with unreadable.skipping(photo.name):
            time = float(stamps[index] - stamps[0])
            frames.append(make_frame(photo, lens=lens, time=time, as_stored=True))
            kept.append(index)
    split = held_out(len(frames), unreadable)
    return Capture(
        path.resolve().name,
        named(frames, path),
        split,
        truth=Truth(poses=poses, depth=depth).only(kept) if depth or poses else None,
        skipped=tuple(unreadable.reasons),
    )


def _lens(name: str) -> Lens | None:
    match = re.search(r"freiburg([123])", name)
    if match is None:
        return None
    (fx, fy, cx, cy), distortion = _CAMERAS[match[1]]
    return make_lens((fx, fy), (cx + 0.5, cy + 0.5), _SIZE, distortion)


def _listed(source: Path, root: Path) -> tuple[np.ndarray, list[Path]]:
    """Time stamps and files of a list such as rgb.txt."""
    stamps, paths = [], []
    for index, line in enumerate(read_lines(source)):
        words = line.split(maxsplit=1)
        if words and not words[0].startswith("#"):
            stamps.append(numbers(words[:1], 1, f"{source}: line {index + 1}")[0])
            paths.append(inside(root, words[1].strip() if len(words) > 1 else "", source))
    if not paths:
        raise ValueError(f"{source} lists no photo; download the recording again.")
    return np.array(stamps), paths


def _nearest(stamps: np.ndarray, others: np.ndarray) -> list[int | None]:
    """Per stamp the index of the nearest other one, unless it is too far away."""
    order = np.argsort(others)
    places = np.searchsorted(others[order], stamps).clip(1, max(len(others) - 1, 1))
    found: list[int | None] = []
    for stamp, place in zip(stamps, places, strict=True):
        near = order[max(place - 1, 0) : place + 1]
        best = int(near[np.argmin(np.abs(others[near] - stamp))])
        found.append(best if abs(others[best] - stamp) <= _LARGEST_GAP_S else None)
    return found


def _depth(path: Path, stamps: np.ndarray) -> tuple[MeasuredMap | None, ...]:
    if not (path / "depth.txt").is_file():
        return ()
    times, files = _listed(path / "depth.txt", path)
    return tuple(
        None if near is None else MeasuredMap(files[near], _METRES_PER_LEVEL)
        for near in _nearest(stamps, times)
    )


def _poses(source: Path, stamps: np.ndarray) -> tuple[torch.Tensor | None, ...]:
    """``camera_from_world`` from rows of time, position, and quaternion x y z w."""
    if not source.is_file():
        return ()
    rows = read_numbers(source, 8)
    if not (np.linalg.norm(rows[:, 4:], axis=1) > 1e-6).all():
        raise ValueError(f"{source} holds a quaternion of length 0; download it again.")
    quats = torch.from_numpy(rows[:, [7, 4, 5, 6]])
    quats = quats / quats.norm(dim=-1, keepdim=True)
    rotations = transforms.matrix_from_quat_wxyz(quats)
    placements = transforms.pose(rotations, torch.from_numpy(rows[:, 1:4]))
    poses = transforms.invert(placements).float()
    nearest = _nearest(stamps, rows[:, 0])
    for i in {i for i in nearest if i is not None}:
        checked_pose(poses[i].numpy(), f"{source}: pose {i + 1}")
    return tuple(None if i is None else poses[i] for i in nearest)
