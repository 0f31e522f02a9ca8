"""Captures that are nothing but a folder of photographs."""

from pathlib import Path

from invgraph.data.capture import Capture, Unreadable, held_out, make_frame, named
from invgraph.data.images import has_pictures, pictures


def photo_folder(path: Path) -> Path | None:
    """The folder itself or its ``images``, whichever holds photographs."""
    if not path.is_dir():
        return None
    for folder in (path, path / "images"):
        if folder.is_dir() and has_pictures(folder):
            return folder
    return None


def read_photos(path: Path) -> Capture:
    """Read the photographs of a folder, or of its ``images``; cameras are unknown.

    Photos may differ in size. Masks are the images of ``masks`` with the photos' file
    stems, or the photos' alpha. Numbers in file names count as numbers.

    Raises:
        ValueError: fewer than two photos can be read, or a mask is of another size than its photo.
    """
    folder = photo_folder(path)
    unreadable = Unreadable(path)
    if folder is None:
        raise ValueError(f"{path} holds no photos; give a folder of PNG, JPEG, WebP or TIFF files.")
    frames = []
    masks = path / "masks"
    known = {mask.stem: mask for mask in pictures(masks, path)} if masks.is_dir() else {}
    for photo in pictures(folder, path):
        mask_path = known.get(photo.stem)
        with unreadable.skipping(photo.name):
            frames.append(make_frame(photo, mask_path=mask_path))
    split = held_out(len(frames), unreadable)
    skipped = tuple(unreadable.reasons)
    return Capture(path.resolve().name, named(frames, folder), split, skipped=skipped)
