"""The photos in which an object is followed, all from one camera."""

from dataclasses import replace
from pathlib import Path

import torch

from invgraph.data import Capture, read_capture
from invgraph.data.intrinsics import KINDS, read_intrinsics
from invgraph.data.listing import SUFFIXES, pictures
from invgraph.data.photos import photo_folder, read_photo
from invgraph.geometry.lens import Lens

_SAME = 1e-3  # relative difference of intrinsics that are the same


def read_sequence(path: str | Path) -> Capture:
    """Read a capture of any kind, or a single photo: a file, or a folder that holds no other.

    Raises:
        ValueError: nothing that can be read.
    """
    path = Path(path)
    if path.is_file() and path.suffix.lower() in SUFFIXES:
        return read_photo(path, path.parent)
    folder = photo_folder(path)
    if folder is not None and len(photos := pictures(folder, path)) == 1:
        return replace(read_photo(photos[0], path), name=path.resolve().name)
    return read_capture(path)


def one_lens(capture: Capture, file: Path | None) -> Lens:
    """The lens of all photos.

    Args:
        capture: its cameras' poses are not looked at.
        file: JSON with intrinsics that take the place of the capture's.

    Raises:
        ValueError: unknown or damaged intrinsics, or photos of several sizes or cameras.
    """
    frames = capture.frames
    sizes = {frame.size for frame in frames}
    if len(sizes) > 1:
        raise ValueError(
            f"{capture.name}: the photos have {len(sizes)} sizes, but an object is followed with "
            "one camera; keep those of one size."
        )
    if file is not None:
        first = frames[0]
        return read_intrinsics(file, first.image_path, first.size, as_stored=first.as_stored)
    known = [frame.known_lens for frame in frames]
    first = known[0]
    for frame, lens in zip(frames, known, strict=True):
        if first is None or lens is None:
            raise ValueError(
                f"{frame.image_path}: the intrinsics of its camera are unknown; give them by "
                f"--camera FILE, or as cam.json beside the photos: JSON with {KINDS}."
            )
        if not _same_lens(lens, first):
            raise ValueError(
                f"{frame.image_path}: its camera is another than that of "
                f"{frames[0].image_path.name}, but an object is followed with one; keep the photos "
                "of one camera, or give its intrinsics by --camera FILE."
            )
    assert first is not None
    return first


def _same_lens(one: Lens, other: Lens) -> bool:
    if (one.distortion is None) != (other.distortion is None) or one.model != other.model:
        return False
    pairs = [(one.focal, other.focal), (one.principal, other.principal)]
    if one.distortion is not None and other.distortion is not None:
        pairs.append((one.distortion, other.distortion))
    return all(torch.allclose(a, b, rtol=_SAME, atol=_SAME) for a, b in pairs)
