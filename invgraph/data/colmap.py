"""Captures with a COLMAP model: ``cameras``, ``images``, ``points3D`` as text or binary."""

import math
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from invgraph.data.capture import Capture
from invgraph.data.frame import make_frame
from invgraph.data.images import image_size
from invgraph.data.listing import inside, inside_file, natural, pictures
from invgraph.data.reading import FARTHEST, Unreadable, checked_pose, held_out, named
from invgraph.data.text import LARGEST, MissingValue, numbers, read_lines, scaled_to
from invgraph.geometry import convert
from invgraph.geometry.camera import Camera
from invgraph.geometry.lens import checked_lens

# COLMAP's numbers of camera models, and how many parameters each has.
MODELS = {
    0: ("SIMPLE_PINHOLE", 3),
    1: ("PINHOLE", 4),
    2: ("SIMPLE_RADIAL", 4),
    3: ("RADIAL", 5),
    4: ("OPENCV", 8),
    5: ("OPENCV_FISHEYE", 8),
    6: ("FULL_OPENCV", 12),
    7: ("FOV", 5),
    8: ("SIMPLE_RADIAL_FISHEYE", 4),
    9: ("RADIAL_FISHEYE", 5),
    10: ("THIN_PRISM_FISHEYE", 12),
    11: ("RAD_TAN_THIN_PRISM_FISHEYE", 16),
    12: ("SIMPLE_DIVISION", 4),
    13: ("DIVISION", 5),
    14: ("SIMPLE_FISHEYE", 3),
    15: ("FISHEYE", 4),
    16: ("EUCM", 6),
    17: ("EQUIRECTANGULAR", 2),
}
_MOST_DIGITS = 18  # of integers
_PLACES = (".", "sparse/0", "sparse", "colmap/sparse/0", "dense/sparse")


@dataclass(frozen=True)
class _Lens:
    model: str
    width: int
    height: int
    params: np.ndarray


@dataclass(frozen=True)
class _Photo:
    name: str
    lens_id: int
    quat_wxyz: np.ndarray
    translation: np.ndarray


def find_model(path: Path) -> Path | None:
    """The folder of the COLMAP model that belongs to a path, if there is one.

    Of several models of one capture (``sparse/0``, ``sparse/1``, ...) the one with the largest file
    of images.
    """
    if not path.is_dir():
        return None
    for place in _PLACES:
        folder = path / place
        if place == "sparse/0":
            found = [sub for sub in sorted((path / "sparse").glob("*")) if _suffix(sub)]
            if found:
                return max(found, key=lambda sub: (sub / f"images{_suffix(sub)}").stat().st_size)
        if _suffix(folder):
            return folder
    return None


def _suffix(folder: Path) -> str | None:
    for suffix in (".bin", ".txt"):
        if all((folder / f"{name}{suffix}").is_file() for name in ("cameras", "images")):
            return suffix
    return None


def read_colmap(path: Path) -> Capture:
    """Read a COLMAP model and the photos it names.

    Pixels have the corner origin there as here, and are those that the files store: COLMAP does not
    look at EXIF's orientation. The models are those of
    :func:`invgraph.geometry.convert.lens_from_colmap`; others are refused by name. Photos lie in
    ``images`` (or the finest ``images_2``, ``images_4``, ...) of the folder or of one above;
    resampled ones have their intrinsics scaled. Masks are ``masks/NAME.png`` or ``masks/STEM.png``.
    Photos that COLMAP has no pose for are listed in ``Capture.skipped``.

    Args:
        path: the folder of the model, or one with ``sparse/0``.

    Raises:
        ValueError: the model or one of its photos cannot be used; the message names it.

    Source:
        Schönberger and Frahm, Structure-from-Motion Revisited (2016), file format of the public
        code.
    """
    model = find_model(path)
    if model is None:
        raise ValueError(
            f"{path} holds no COLMAP model; expected cameras and images, .bin or .txt."
        )
    suffix = _suffix(model)
    for name in ("cameras", "images", "points3D"):
        inside_file(model / f"{name}{suffix}", path)
    read = _read_binary if suffix == ".bin" else _read_text
    lenses, photos, points = read(model)
    source = model / f"images{suffix}"
    if not photos:
        raise ValueError(f"{source} lists no photo; run COLMAP's mapper again.")
    photos.sort(key=lambda photo: natural(Path(photo.name)))
    root, images = _image_folder(path, model, photos, source)
    unreadable = Unreadable(source)
    frames = []
    for photo in photos:
        where = f"{source}: {photo.name!r:.80}"
        name = str(images.relative_to(root) / photo.name) if photo.name else photo.name
        image_path = inside(root, name, source)
        with unreadable.skipping(photo.name):
            unreadable.once(image_path, source)
            if photo.lens_id not in lenses:
                raise MissingValue(
                    f"{where} has camera {photo.lens_id}, which cameras{suffix} lacks; export "
                    "again."
                )
            size = image_size(image_path, as_stored=True)
            camera = _camera(lenses[photo.lens_id], photo, size, where)
            mask = _mask(root, photo.name)
            frames.append(make_frame(image_path, camera, mask_path=mask, as_stored=True))
    _note_others(root, images, photos, unreadable)
    return Capture(
        root.resolve().name,
        named(frames, images),
        held_out(len(frames), unreadable),
        points=points,
        skipped=tuple(unreadable.reasons),
    )


def _image_folder(path: Path, model: Path, photos: list[_Photo], source: Path) -> tuple[Path, Path]:
    """The capture's folder, and the folder that photo names refer to."""
    for root in dict.fromkeys((path, model, model.parent, model.parent.parent)):
        folders = [root / "images", *sorted(root.glob("images_[0-9]*"), key=natural), root]
        for folder in folders:
            if folder.is_dir() and any(_lies_in(folder, photo.name) for photo in photos[:16]):
                return root, folder
    raise ValueError(
        f"{source} names photos such as {photos[0].name!r:.80}, which lie in no folder images "
        f"beside the model; put the photos into {path / 'images'}."
    )


def _note_others(root: Path, images: Path, photos: list[_Photo], unreadable: Unreadable) -> None:
    """Note photos without a camera, masks without a photo, and files of other kinds."""
    named_photos = {images / photo.name.replace("\\", "/") for photo in photos}
    folders = dict.fromkeys([images, *sorted({photo.parent for photo in named_photos})])
    beside: list[Path] = []
    for folder in filter(Path.is_dir, folders):
        found = pictures(folder, root)
        unreadable.note_others(found, named_photos, "the COLMAP model has no camera for it")
        if ".." in folder.relative_to(images).parts:
            beside.append(folder)
            continue
        masks = root / "masks" / folder.relative_to(images)
        beside += [folder, masks]
        if masks.is_dir() and masks not in folders:
            stems = [photo.stem for photo in found] + [photo.name for photo in found]
            stems += [name for photo in named_photos for name in (photo.stem, photo.name)]
            reason = "no photo has a mask of that name, which is NAME.png or STEM.png"
            known = {masks / f"{stem}.png" for stem in stems}
            unreadable.note_others(pictures(masks, root), known, reason)
    unreadable.note_unopened(*beside)


def _lies_in(folder: Path, name: str) -> bool:
    try:
        return (folder / name).is_file() and bool(name)
    except (OSError, ValueError):  # no name of a file
        return False


def _mask(root: Path, name: str) -> Path | None:
    for candidate in (f"{name}.png", str(Path(name).with_suffix(".png"))):
        if (root / "masks" / candidate).is_file():
            return inside(root, f"masks/{candidate}", root)
    return None


def _camera(lens: _Lens, photo: _Photo, size: tuple[int, int], where: str) -> Camera:
    if min(lens.width, lens.height) < 1:
        raise ValueError(
            f"{where}: its camera is {lens.height}x{lens.width} (h x w); export again."
        )
    if not np.isfinite(photo.translation).all():
        raise MissingValue(f"{where}: its pose holds NaN or infinity; export the model again.")
    longest = float(np.abs(photo.quat_wxyz).max())
    if not 1e-6 < longest < FARTHEST:
        raise MissingValue(
            f"{where}: its quaternion has length 0, NaN or infinity; export the model again."
        )
    # Only checks that the photo is the calibrated one, resampled or not.
    scaled_to((1.0, 1.0), (0.0, 0.0), (lens.height, lens.width), size, where)
    try:
        ours = convert.lens_from_colmap(
            lens.model, torch.from_numpy(lens.params), lens.height, lens.width
        )
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    camera = convert.from_colmap(
        torch.from_numpy(photo.quat_wxyz), torch.from_numpy(photo.translation), ours
    )
    checked_pose(camera.camera_from_world.numpy(), where)
    checked_lens(ours, where)
    return camera.resize(*size).to(torch.float32)


# Text: # comments; two lines per image, of which the second (its points) may be empty. As COLMAP
# reads it, blank lines and comments stand before an image, never between it and its points.


def _read_text(folder: Path) -> tuple[dict[int, _Lens], list[_Photo], torch.Tensor | None]:
    lenses = {}
    source = folder / "cameras.txt"
    for index, line in enumerate(read_lines(source)):
        words = line.split()
        if words and not words[0].startswith("#"):
            where = f"{source}: line {index + 1}"
            if len(words) < 4:
                raise ValueError(f"{where}: expected CAMERA_ID MODEL WIDTH HEIGHT PARAMS.")
            camera_id, width, height = _integers([words[0], *words[2:4]], where)
            params = numbers(words[4:], None, where)
            lenses[camera_id] = _Lens(words[1], width, height, params)
    source = folder / "images.txt"
    lines = iter(read_lines(source))
    photos = []
    for line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        where = f"{source}: image {len(photos) + 1}"
        words = line.strip().split(maxsplit=9)
        if len(words) != 10:
            raise ValueError(f"{where}: expected IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME.")
        [lens_id] = _integers([words[8]], where)
        try:
            pose = numbers(words[1:8], 7, where)
        except MissingValue:
            pose = np.full(7, math.nan)  # costs this photo
        photos.append(_Photo(words[9], lens_id, pose[:4], pose[4:]))
        next(lines, "")  # its points
    source = folder / "points3D.txt"
    if not source.is_file():
        return lenses, photos, None
    rows = [
        numbers(line.split(maxsplit=7)[1:4], 3, f"{source}: line {index + 1}")
        for index, line in enumerate(read_lines(source))
        if line.strip() and not line.startswith("#")
    ]
    return lenses, photos, _points(rows, source)


def _integers(words: list[str], where: str) -> list[int]:
    if any(len(word) > _MOST_DIGITS for word in words):
        words = [word[:_MOST_DIGITS] + "..." for word in words]
    try:
        return [int(word) for word in words]
    except ValueError:
        raise ValueError(f"{where}: expected integers but got {' '.join(words):.60}.") from None


def _points(rows: list, source: Path) -> torch.Tensor | None:
    if not rows:
        return None
    points = np.array(rows, dtype=np.float64).reshape(-1, 3)
    if not (np.abs(points) < LARGEST).all():
        raise ValueError(
            f"{source} holds NaN, infinity or numbers too large; export the model again."
        )
    return torch.from_numpy(points.astype(np.float32))


# Binary: little-endian, packed.


class _Bytes:
    """A file's bytes, read from front to back; every read checks that they are there."""

    def __init__(self, path: Path) -> None:
        self._path, self._data, self._at = path, path.read_bytes(), 0

    def take(self, layout: str) -> tuple:
        end = self._at + struct.calcsize(f"<{layout}")
        self._check(end)
        values = struct.unpack_from(f"<{layout}", self._data, self._at)
        self._at = end
        return values

    def count(self, least_bytes: int) -> int:
        """A number of records, each of which takes at least so many bytes."""
        [number] = self.take("Q")
        self._check(self._at + number * least_bytes)
        return number

    def text(self) -> str:
        end = self._data.find(b"\0", self._at)
        self._check(end + 1 if end >= 0 else len(self._data) + 1)
        text = self._data[self._at : end].decode("utf-8", errors="replace")
        self._at = end + 1
        return text

    def skip(self, size: int) -> None:
        self._check(self._at + size)
        self._at += size

    def _check(self, end: int) -> None:
        if end > len(self._data):
            raise ValueError(
                f"{self._path} ends at byte {len(self._data)} in the middle of a record; "
                "export the model again."
            )


def _read_binary(folder: Path) -> tuple[dict[int, _Lens], list[_Photo], torch.Tensor | None]:
    source = folder / "cameras.bin"
    data = _Bytes(source)
    lenses = {}
    for _ in range(data.count(24)):
        camera_id, number, width, height = data.take("IiQQ")
        if number not in MODELS:
            raise ValueError(
                f"{source}: camera {camera_id} has model number {number}, which is not supported; "
                "undistort with COLMAP's image_undistorter."
            )
        model, count = MODELS[number]
        lenses[camera_id] = _Lens(model, width, height, np.array(data.take(f"{count}d")))
    data = _Bytes(folder / "images.bin")
    photos = []
    for _ in range(data.count(73)):
        values = data.take("I7dI")
        name = data.text()
        pose = np.array(values[1:8])
        photos.append(_Photo(name, values[8], pose[:4], pose[4:]))
        data.skip(24 * data.count(24))
    source = folder / "points3D.bin"
    if not source.is_file():
        return lenses, photos, None
    data = _Bytes(source)
    rows = []
    for _ in range(data.count(51)):
        rows.append(data.take("Q3d3Bd")[1:4])
        data.skip(8 * data.count(8))
    return lenses, photos, _points(rows, source)
