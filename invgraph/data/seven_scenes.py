"""Recordings in the layout of the 7-Scenes data set."""

import re
from pathlib import Path

import numpy as np
import torch

from invgraph.data.capture import Capture
from invgraph.data.depth_scale import metres_per_level
from invgraph.data.frame import make_frame, make_lens
from invgraph.data.images import image_size
from invgraph.data.listing import inside_file, natural, pictures
from invgraph.data.reading import Unreadable, checked_pose, held_out, named
from invgraph.data.text import checked_intrinsics, read_lines, read_numbers
from invgraph.data.truth import MeasuredMap, Truth

_SUFFIX = re.compile(r"\.color\.\w+$")
_FOCAL, _PRINCIPAL = (585.0, 585.0), (320.5, 240.5)
_METRES_PER_LEVEL = 0.001


def sequences(path: Path) -> list[Path]:
    """Folders that hold ``frame-*.color.*``: the one given, or its ``seq-*``."""
    if not path.is_dir():
        return []
    return [
        folder
        for folder in (path, *sorted(path.glob("seq-*"), key=natural))
        if folder.is_dir() and next(folder.glob("frame-*.color.*"), None) is not None
    ]


def read_seven_scenes(path: Path) -> Capture:
    """Read one sequence, or all sequences of a scene.

    Poses (``frame-*.pose.txt``, camera-to-world) and depth (``frame-*.depth.png``, millimetres
    unless ``camera.json`` says otherwise) are truth; photos whose pose is lost are left out.
    Intrinsics are those of ``camera-intrinsics.txt`` where it is, else the data set's nominal
    585 px; integers are pixel centres. The test split is ``TestSplit.txt`` of a scene, else every
    8th photo.

    Raises:
        ValueError: a file cannot be used; the message names it.

    Source:
        Shotton et al., Scene Coordinate Regression Forests for Camera Relocalization in RGB-D
        Images (2013).
    """
    folders = sequences(path)
    if not folders:
        raise ValueError(f"{path} holds no frame-*.color.png or frame-*.color.jpg.")
    unreadable = Unreadable(path)
    scale = metres_per_level(path, _METRES_PER_LEVEL)
    frames, poses, depth, owners = [], [], [], []
    for folder in folders:
        intrinsics = _intrinsics(folder, path)
        for photo in pictures(folder, path):
            if not _SUFFIX.search(photo.name):
                continue
            stem = _SUFFIX.sub("", photo.name)
            with unreadable.skipping(photo.name):
                size = image_size(photo, as_stored=True)
                lens = make_lens(*intrinsics, size, where=f"{folder}: camera-intrinsics.txt")
                frame = make_frame(photo, lens=lens, as_stored=True)
                poses.append(_pose(inside_file(photo.with_name(f"{stem}.pose.txt"), path)))
                frames.append(frame)
                file = inside_file(photo.with_name(f"{stem}.depth.png"), path)
                depth.append(None if file is None else MeasuredMap(file, scale))
                owners.append(folder.name)
        unreadable.note_unopened(folder)
    split = held_out(len(frames), unreadable)
    tested = _tested(path)
    if tested and 0 < sum(owner in tested for owner in owners) < len(owners):
        split = tuple(i for i, owner in enumerate(owners) if owner in tested)
    return Capture(
        path.resolve().name,
        named(frames, path),
        split,
        truth=Truth(
            poses=tuple(poses) if any(pose is not None for pose in poses) else (),
            depth=tuple(depth) if any(depth) else (),
        ),
        skipped=tuple(unreadable.reasons),
    )


def _intrinsics(folder: Path, path: Path) -> tuple[tuple[float, float], tuple[float, float]]:
    for place in (folder, path):
        source = inside_file(place / "camera-intrinsics.txt", path)
        if source is not None:
            return checked_intrinsics(read_numbers(source, 3), str(source), centred=True)
    return _FOCAL, _PRINCIPAL


def _pose(source: Path | None) -> torch.Tensor | None:
    if source is None:
        return None
    world_from_camera = checked_pose(read_numbers(source, 4), str(source))
    return torch.from_numpy(np.linalg.inv(world_from_camera).astype(np.float32))


def _tested(path: Path) -> set[str]:
    """Names of the test sequences: TestSplit.txt lists ``sequence3`` for the folder seq-03."""
    source = inside_file(path / "TestSplit.txt", path)
    if source is None:
        return set()
    digits = (re.search("[0-9]{1,9}", line) for line in read_lines(source))
    return {f"seq-{int(match[0]):02d}" for match in digits if match}
