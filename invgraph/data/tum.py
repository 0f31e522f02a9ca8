"""Recordings in the layout of the TUM RGB-D benchmark."""

import re
from pathlib import Path

import numpy as np
import torch

from invgraph.data.capture import Capture
from invgraph.data.depth_scale import metres_per_level
from invgraph.data.frame import make_frame, make_lens
from invgraph.data.listing import inside, inside_file, pictures
from invgraph.data.reading import Unreadable, checked_pose, held_out, named
from invgraph.data.text import MissingValue, numbers, read_lines, read_table
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

    Depth and poses belong to the photo whose time stamp is nearest, if it is within 0.02 s. Photos
    are sorted by time, which counts from the first one. Levels of depth are 1/5000 m unless
    ``camera.json`` says otherwise. Which camera it was follows from ``freiburg1`` to ``freiburg3``
    in the folder's name, else the intrinsics are unknown.

    Raises:
        ValueError: a file cannot be used; the message names it.

    Source:
        Sturm et al., A Benchmark for the Evaluation of RGB-D SLAM Systems (2012).
    """
    unreadable = Unreadable(path / "rgb.txt")
    stamps, photos = _listed("rgb.txt", path, unreadable)
    unreadable.require(len(photos), 2)
    whole = not unreadable.reasons  # else a lost row may be that of a photo without one
    depth = _depth(path, stamps, unreadable)
    poses = _poses(inside_file(path / "groundtruth.txt", path), stamps, unreadable)
    lens = _lens(path.resolve().name)
    frames, kept = [], []
    for index, photo in enumerate(photos):
        with unreadable.skipping(photo.name):
            unreadable.once(photo, path / "rgb.txt")
            time = float(stamps[index] - stamps[0])
            frames.append(make_frame(photo, lens=lens, time=time, as_stored=True))
            kept.append(index)
    if whole and (path / "rgb").is_dir():
        others = pictures(path / "rgb", path)
        unreadable.note_others(others, set(photos), "rgb.txt has no row for it")
    unreadable.note_unopened(path / "rgb")
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


def _listed(name: str, root: Path, unreadable: Unreadable) -> tuple[np.ndarray, list[Path]]:
    """Time stamps and files of a list such as rgb.txt, sorted by time."""
    source = inside(root, name, root)
    stamps, paths = [], []
    for index, line in enumerate(read_lines(source)):
        words = line.split(maxsplit=1)
        if words and not words[0].startswith("#"):
            where = f"{source}: line {index + 1}"
            with unreadable.skipping(f"{name}: line {index + 1}"):
                if len(words) < 2:
                    raise MissingValue(f"{where} names no file; download the recording again.")
                [stamp] = numbers(words[:1], 1, where)
                paths.append(inside(root, words[1].strip(), source))
                stamps.append(stamp)
    if not paths and not any(reason.startswith(f"{name}: ") for reason in unreadable.reasons):
        raise ValueError(f"{source} lists no photo; download the recording again.")
    order = np.argsort(stamps, kind="stable")
    return np.array(stamps)[order], [paths[index] for index in order]


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


def _depth(
    path: Path, stamps: np.ndarray, unreadable: Unreadable
) -> tuple[MeasuredMap | None, ...]:
    if not (path / "depth.txt").is_file():
        return ()
    times, files = _listed("depth.txt", path, unreadable)
    if not files:
        return ()
    scale = metres_per_level(path, _METRES_PER_LEVEL)
    return tuple(
        None if near is None else MeasuredMap(files[near], scale)
        for near in _nearest(stamps, times)
    )


def _poses(
    source: Path | None, stamps: np.ndarray, unreadable: Unreadable
) -> tuple[torch.Tensor | None, ...]:
    """``camera_from_world`` from rows of time, position, and quaternion x y z w."""
    if source is None:
        return ()
    rows, missing = read_table(source, 8)
    for reason in missing.values():
        unreadable.note(source.name, reason)
    rows = rows[np.isfinite(rows).all(1)]
    turned = np.linalg.norm(rows[:, 4:], axis=1) > 1e-6
    for time in rows[~turned, 0]:
        unreadable.note(source.name, f"the pose at {time:.12g} has a quaternion of length 0")
    rows = rows[turned]
    if not len(rows):
        return ()
    quats = torch.from_numpy(rows[:, [7, 4, 5, 6]])
    quats = quats / quats.norm(dim=-1, keepdim=True)
    rotations = transforms.matrix_from_quat_wxyz(quats)
    placements = transforms.pose(rotations, torch.from_numpy(rows[:, 1:4]))
    poses = transforms.invert(placements).float()
    nearest = _nearest(stamps, rows[:, 0])
    for i in {i for i in nearest if i is not None}:
        checked_pose(poses[i].numpy(), f"{source}: pose {i + 1}")
    return tuple(None if i is None else poses[i] for i in nearest)
