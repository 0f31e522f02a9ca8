"""Captures that are nothing but photographs."""

from dataclasses import replace
from pathlib import Path

from invgraph.data.capture import Capture
from invgraph.data.frame import Frame, make_frame
from invgraph.data.intrinsics import NAMES, intrinsics_beside
from invgraph.data.listing import has_pictures, inside_file, pictures
from invgraph.data.reading import Unreadable, held_out, named


def photo_folder(path: Path) -> Path | None:
    """The folder itself or its ``images``, whichever holds photographs."""
    if not path.is_dir():
        return None
    for folder in (path, path / "images"):
        if folder.is_dir() and has_pictures(folder):
            return folder
    return None


def read_photos(path: Path) -> Capture:
    """Read the photographs of a folder, or of its ``images``; where they were taken is unknown.

    Photos may differ in size. Masks are the images of ``masks`` with the photos' file
    stems, or the photos' alpha. Numbers in file names count as numbers. Intrinsics are those of
    ``cam.json`` or ``camera.json`` in the folder or beside the photos, where there is one
    (:func:`invgraph.data.intrinsics.read_intrinsics`).

    Raises:
        ValueError: fewer than two photos can be read, a mask is of another size than its photo, or
            the intrinsics are damaged.
    """
    folder = photo_folder(path)
    unreadable = Unreadable(path)
    if folder is None:
        raise ValueError(f"{path} holds no photos; give a folder of PNG, JPEG, WebP or TIFF files.")
    frames = []
    masks = path / "masks"
    drawn = pictures(masks, path) if masks.is_dir() else []
    known = {mask.stem: mask for mask in drawn}
    photos = pictures(folder, path)
    for photo in photos:
        mask_path = known.get(photo.stem)
        with unreadable.skipping(photo.name):
            frames.append(make_frame(photo, mask_path=mask_path))
    unreadable.note_unopened(path, folder, masks)
    stems = {photo.stem for photo in photos}
    for stem, mask in known.items():
        if stem not in stems:
            unreadable.note(f"masks/{mask.name}", f"no photo is called {stem}")
    for mask in drawn:
        if mask not in known.values():
            other = known[mask.stem].name
            unreadable.note(f"masks/{mask.name}", f"{other} is taken; remove one of them")
    below = path / "images"
    if folder != below and below.is_dir() and has_pictures(below):
        unreadable.note("images", f"its photos are not read: there are photos in {path} itself")
    split = held_out(len(frames), unreadable)
    skipped = tuple(unreadable.reasons)
    for place in dict.fromkeys((path, folder)):
        frames = _with_lenses(frames, place)
    return Capture(path.resolve().name, named(frames, folder), split, skipped=skipped)


def read_photo(path: Path, folder: Path) -> Capture:
    """Read one photograph as a capture that holds nothing out.

    Args:
        path: the photo.
        folder: that may hold its intrinsics.

    Raises:
        ValueError: it cannot be read, or the intrinsics are damaged.
    """
    frames = named(_with_lenses([make_frame(path)], folder), path.parent)
    return Capture(frames[0].name, frames, (), kind="photo")


def _with_lenses(frames: list[Frame], folder: Path) -> list[Frame]:
    for name in NAMES:
        inside_file(folder / name, folder)
    lenses = intrinsics_beside(folder, [(frame.image_path, frame.size) for frame in frames])
    if not lenses:
        return frames
    return [replace(frame, lens=lens) for frame, lens in zip(frames, lenses, strict=True)]
