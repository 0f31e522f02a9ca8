"""Captures in the format of Strecha's multi-view benchmark: one ``*.camera`` per photo."""

from pathlib import Path

import numpy as np

from invgraph.data.capture import Capture
from invgraph.data.frame import make_camera, make_frame, make_lens
from invgraph.data.images import image_size
from invgraph.data.listing import inside_file, natural, pictures
from invgraph.data.reading import Unreadable, checked_pose, held_out, named
from invgraph.data.text import checked_intrinsics, numbers, read_lines, scaled_to


def camera_files(path: Path) -> list[Path]:
    """The ``*.camera`` files of a capture: in its folder or in a folder of that."""
    if not path.is_dir():
        return []
    found = sorted(path.glob("*.camera"), key=natural)
    return found or sorted(path.glob("*/*.camera"), key=natural)


def read_strecha(path: Path) -> Capture:
    """Read ``NAME.jpg.camera`` files and the photos ``NAME.jpg``, wherever below the folder.

    A file holds K, a row of distortion (zeros), the camera's rotation in the world, its centre, and
    the (width, height) that K refers to. Integers are pixel centres, so half a pixel is added; for
    photos of another size everything is scaled.

    Raises:
        ValueError: a file or its photo cannot be used; the message names it.

    Source:
        Strecha et al., On Benchmarking Camera Calibration and Multi-View Stereo for High Resolution
        Imagery (2008), README of the data.
    """
    files = camera_files(path)
    if not files:
        raise ValueError(f"{path} holds no *.camera file; give the folder above them.")
    folders = [path, *sorted(sub for sub in path.iterdir() if sub.is_dir())]
    photos = {p.name: p for folder in reversed(folders) for p in pictures(folder, path)}
    unreadable = Unreadable(path)
    frames = []
    named_by = {file.name.removesuffix(".camera") for file in files}
    for file in files:
        inside_file(file, path)
        name = file.name.removesuffix(".camera")
        if name not in photos:
            unreadable.note(name, f"no photo of that name for {file.name}")
            continue
        with unreadable.skipping(name):
            focal, principal, pose, stated = _parse(file)
            size = image_size(photos[name], as_stored=True)
            focal, principal = scaled_to(focal, principal, stated, size, str(photos[name]))
            camera = make_camera(pose, make_lens(focal, principal, size, where=str(file)))
            frames.append(make_frame(photos[name], camera, as_stored=True))
    known = {photos[name] for name in named_by if name in photos}
    unreadable.note_others(photos.values(), known, "there is no *.camera file for it")
    unreadable.note_unopened(*folders)
    split = held_out(len(frames), unreadable)
    skipped = tuple(unreadable.reasons)
    return Capture(path.resolve().name, named(frames, path), split, skipped=skipped)


def _parse(
    file: Path,
) -> tuple[tuple[float, float], tuple[float, float], np.ndarray, tuple[int, int]]:
    """Focal, principal (corner origin), camera_from_world, (height, width) of the full size."""
    rows = [line.split() for line in read_lines(file) if line.strip()]
    words = [word for row in rows for word in row]
    values = numbers(words, 26, str(file))
    if values[9:12].any():
        raise ValueError(f"{file}: distortion is not supported there; undistort the photos first.")
    focal, principal = checked_intrinsics(values[:9].reshape(3, 3), str(file), centred=True)
    rotation, centre = values[12:21].reshape(3, 3), values[21:24]
    world_from_camera = checked_pose(np.column_stack([rotation, centre]), str(file))
    width, height = (int(value) for value in values[24:])
    if min(width, height) < 1:
        raise ValueError(f"{file}: image size {height}x{width} (h x w) should be positive.")
    return focal, principal, np.linalg.inv(world_from_camera), (height, width)
