"""Captures in the LLFF format: ``poses_bounds.npy`` beside folders of photographs."""

import re
from contextlib import suppress
from pathlib import Path

import numpy as np

from invgraph.data.capture import Capture
from invgraph.data.frame import make_camera, make_frame, make_lens
from invgraph.data.images import UnreadableImage, image_size
from invgraph.data.listing import inside, pictures, unopened
from invgraph.data.reading import Unreadable, checked_pose, held_out, named
from invgraph.data.text import MissingValue, scaled_to
from invgraph.files.arrays import read_array

_LONGEST_SIDE = 2048


def read_llff(folder: Path) -> Capture:
    """Read ``poses_bounds.npy`` and the photographs it lists in sorted order.

    Each row holds a 3x5 matrix and the depth range: the columns of its rotation are the camera's
    down, right and backwards axes in the world, then come the camera's position and (height,
    width, focal) of the full-size photograph. Of the folders ``images``, ``images_2``,
    ``images_4``, ... the finest with sides of at most 2048 pixels is used (else the coarsest), and
    the focal length is scaled to the real size. Masks lie in ``masks`` with the same suffix, under
    the same file stems.

    Raises:
        ValueError: the file or one of its photos cannot be used; the message names it.

    Source:
        Mildenhall et al., Local Light Field Fusion (2019), file format of the public code.
    """
    source = inside(folder, "poses_bounds.npy", folder)
    rows = _load(source)
    images = _image_folder(folder)
    paths = sorted(pictures(images, folder))
    if len(paths) != len(rows):
        others = unopened(images)
        besides = f" besides {len(others)} that are not read ({others[0][0]})" if others else ""
        raise ValueError(
            f"{source} has {len(rows)} poses but {images} has {len(paths)} photos{besides}; remove "
            "the photos without a pose, convert those that are not read, or export the poses again."
        )
    mask_folder = folder / images.name.replace("images", "masks")
    masks = _masks(mask_folder, paths, folder)
    frames = []
    unreadable = Unreadable(source)
    unreadable.note_unopened(images, mask_folder)
    if masks:
        stems = {path.stem for path in paths}
        known = {path for stem, path in masks.items() if stem in stems}
        unreadable.note_others(pictures(mask_folder, folder), known, "no photo is called so")
    for index, (path, row) in enumerate(zip(paths, rows, strict=True)):
        matrix = row[:15].reshape(3, 5)
        where = f"{source}: row {index} ({path.name})"
        down, right, back, position, shape = matrix.T
        pose = np.stack([right, down, -back, position], axis=1)
        with unreadable.skipping(path.name):
            camera_from_world = np.linalg.inv(checked_pose(pose, where))
            focal, size = _scaled(shape, path, where)
            lens = make_lens(focal, (size[1] / 2, size[0] / 2), size, where=where)
            camera = make_camera(camera_from_world, lens)
            frames.append(make_frame(path, camera, mask_path=masks.get(path.stem), as_stored=True))
    split = held_out(len(frames), unreadable)
    skipped = tuple(unreadable.reasons)
    return Capture(folder.resolve().name, named(frames, folder), split, skipped=skipped)


def _load(source: Path) -> np.ndarray:
    try:
        rows = read_array(source)
    except ValueError as error:
        raise ValueError(f"{source} cannot be read ({error}); export the poses again.") from error
    if rows.ndim != 2 or rows.shape[1] != 17:
        raise ValueError(
            f"{source} is {rows.shape}, expected n x 17 numbers; export the poses again."
        )
    if len(rows) == 0:
        raise ValueError(f"{source} lists no photo; export the poses again.")
    if rows.dtype.kind not in "fiu":
        raise ValueError(f"{source} holds {rows.dtype}, expected numbers; export the poses again.")
    return rows.astype(np.float64)


def _image_folder(folder: Path) -> Path:
    found = [
        (int(match[1] or 1), path)
        for path in folder.iterdir()
        if path.is_dir() and (match := re.fullmatch(r"images(?:_(\d{1,4}))?", path.name))
    ]
    if not found:
        raise ValueError(f"{folder} has no folder images, images_2, images_4, ...; add the photos.")
    found.sort()
    for _, path in found:
        if 0 < _longest_side(pictures(path, folder)) <= _LONGEST_SIDE:
            return path
    return found[-1][1]


def _longest_side(photos: list[Path]) -> int:
    """Of the first photo that can be read; 0 if none can."""
    for photo in photos:
        with suppress(UnreadableImage):
            return max(image_size(photo))
    return 0


def _masks(folder: Path, images: list[Path], root: Path) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    masks = {path.stem: path for path in pictures(folder, root)}
    missing = [path.name for path in images if path.stem not in masks]
    if missing:
        raise ValueError(
            f"{folder} has no mask for {missing[0]} ({len(missing)} of {len(images)} are missing); "
            "add them or remove the folder."
        )
    return masks


def _scaled(
    shape: np.ndarray, path: Path, where: str
) -> tuple[tuple[float, float], tuple[int, int]]:
    """Focal lengths in the real photograph's pixels, and its (height, width)."""
    height, width, focal = (float(value) for value in shape)
    if not np.isfinite(shape).all():
        raise MissingValue(f"{where}: height, width, focal are {shape}; export the poses again.")
    if not (min(shape) > 0 and min(shape[:2]) >= 1):
        raise ValueError(f"{where}: height, width, focal are {shape}; export the poses again.")
    real = image_size(path, as_stored=True)
    stated = (round(height), round(width))
    scaled, _ = scaled_to((focal, focal), (0.0, 0.0), stated, real, str(path))
    return scaled, real
