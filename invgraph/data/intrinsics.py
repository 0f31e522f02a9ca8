"""Intrinsics of a camera that stand in a JSON file of their own."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from invgraph.data.frame import make_lens
from invgraph.data.images import QUARTER_TURNS, orientation_of, undoing
from invgraph.data.text import checked_intrinsics, flat_numbers, number, scaled_to
from invgraph.data.transforms_json import read_lens as transforms_lens
from invgraph.data.transforms_json import refuse_other_terms
from invgraph.geometry.lens import Lens

NAMES = ("cam.json", "camera.json")
KINDS = "px, py, u0, v0 (ViSP), K or cam_K (3x3), fx, fy, cx, cy (BOP), or fl_x (transforms.json)"
_VISP = ("perspectiveProjWithoutDistortion", "perspectiveProjWithDistortion")
_SIZES = (("h", "w"), ("height", "width"))
_LARGEST_BYTES = 1 << 20


def read_intrinsics(
    path: Path, photo: Path, size: tuple[int, int], *, as_stored: bool = False
) -> Lens:
    """Read the intrinsics of the camera that took a photo.

    ``px, py, u0, v0`` as ViSP writes them, ``K`` or ``cam_K`` (nine numbers) and ``fx, fy, cx, cy``
    count pixels from the centre of the first one, so half a pixel is added; where the file states
    its size (``h, w`` or ``height, width``) they are scaled to the photo's. ``fl_x, fl_y, cx, cy``
    are those of ``transforms.json``, from the corner. ``K`` is of the upright photo, as OpenCV
    opens it; the others are of the photo as it is stored, since the tools they come from do not
    look at EXIF's orientation.

    Args:
        path: a JSON object.
        photo: the file, whose EXIF says how it is turned.
        size: (height, width) of the photo.
        as_stored: whether ``size``, and the lens, are of the photo as it is stored; else of the
            upright photo.

    Returns:
        The lens, in the photo's pixels.

    Raises:
        ValueError: no JSON, no intrinsics of a known kind, impossible ones, a lens model that is
            not supported, or a size of another shape than the photo's.
        OSError: the file cannot be read.
    """
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is not a file; give a JSON file with intrinsics.")
    values = _load(path)
    if _kind(values) is None:
        raise ValueError(f"{path} holds no intrinsics of a known kind; expected {KINDS}.")
    return _lens(values, path, photo, size, as_stored)


def intrinsics_beside(folder: Path, photos: list[tuple[Path, tuple[int, int]]]) -> list[Lens]:
    """The intrinsics of photos from ``cam.json`` or ``camera.json`` in their folder.

    Args:
        folder: that may hold one of the files.
        photos: each with the (height, width) of the upright image.

    Returns:
        A lens per photo, or nothing where there is no such file or it is about something else.

    Raises:
        ValueError: as for :func:`read_intrinsics`, or the photos differ in size and the file does
            not say which it means.
    """
    for name in NAMES:
        path = folder / name
        if not path.is_file():
            continue
        values = _load(path)
        if _kind(values) is None:
            continue
        sizes = {size for _, size in photos}
        if len(sizes) > 1 and _stated_size(values, str(path)) is None:
            raise ValueError(
                f"{path} states no size but the photos beside it have {len(sizes)} sizes; "
                "add w and h, in pixels, to it."
            )
        return [_lens(values, path, photo, size, False) for photo, size in photos]
    return []


def _load(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        data = file.read(_LARGEST_BYTES + 1)
    if len(data) > _LARGEST_BYTES:
        raise ValueError(f"{path} is larger than 1 MiB; expected a small JSON file.")
    try:
        values = json.loads(data)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ValueError(f"{path} is not JSON ({reason}); write the intrinsics again.") from error
    return values if isinstance(values, dict) else {}


def _kind(values: dict[str, Any]) -> str | None:
    for kind in ("px", "K", "cam_K", "fl_x", "camera_angle_x", "fx"):
        if kind in values:
            return kind
    return None


def _lens(
    values: dict[str, Any], path: Path, photo: Path, size: tuple[int, int], as_stored: bool
) -> Lens:
    """The lens of a photo of a size, upright or as it is stored."""
    orientation = orientation_of(photo)
    of_stored = _kind(values) != "K"
    if of_stored == as_stored or orientation == 1:
        return _stated_lens(values, path, photo, size)
    height, width = size[::-1] if orientation in QUARTER_TURNS else size
    lens = _stated_lens(values, path, photo, (height, width))
    return _turned(lens, orientation if of_stored else undoing(orientation))


def _turned(lens: Lens, orientation: int) -> Lens:
    """The lens of an image that is turned, or mirrored, as an EXIF orientation says."""
    focal, (cx, cy), (height, width) = lens.focal, lens.principal, (lens.height, lens.width)
    bent = lens.distortion
    p1, p2 = torch.zeros(2) if bent is None else bent[2:4]
    if orientation in QUARTER_TURNS:
        focal, cx, cy, height, width, p1, p2 = focal.flip(0), cy, cx, width, height, p2, p1
    if orientation in (2, 3, 6, 7):
        cx, p2 = width - cx, -p2
    if orientation in (3, 4, 7, 8):
        cy, p1 = height - cy, -p1
    if bent is not None and lens.model != "fisheye":  # whose terms are all radial
        bent = torch.cat((bent[:2], torch.stack((p1, p2)), bent[4:]))
    principal = torch.stack((cx, cy))
    return replace(
        lens, focal=focal, principal=principal, height=height, width=width, distortion=bent
    )


def _stated_lens(values: dict[str, Any], path: Path, photo: Path, size: tuple[int, int]) -> Lens:
    """The lens in the pixels that the file speaks of, at a photo's size."""
    kind, where = _kind(values), str(path)
    distortion = None
    if kind in ("fl_x", "camera_angle_x"):
        return transforms_lens(values, size, photo, where)
    refuse_other_terms(
        values,
        ("kud", "kdu") if kind == "px" else (),
        where,
        f"read beside {kind}; write the lens as transforms.json has it (fl_x, camera_model), or "
        "undistort the photos first",
    )
    name = values.get("camera_model")
    if values.get("is_fisheye"):
        name = "fisheye"
    if name is not None and "PINHOLE" not in str(name).upper():
        raise ValueError(
            f"{where}: camera_model {name!r:.40} is not read beside {kind}; write the lens as "
            "transforms.json has it (fl_x), or undistort the photos first."
        )
    if kind == "px":
        model = values.get("model", _VISP[0])
        if model not in _VISP:
            raise ValueError(
                f"{where}: model {model!r:.60} is not supported, only {' and '.join(_VISP)}; "
                "undistort the photos first."
            )
        px, py, u0, v0 = (_number(values, key, where) for key in ("px", "py", "u0", "v0"))
        matrix = np.array([[px, 0, u0], [0, py, v0], [0, 0, 1]])
        if model == _VISP[1]:
            # ViSP's kud is Brown's k1: both take the undistorted radius.
            distortion = (_number(values, "kud", where), 0.0, 0.0, 0.0, 0.0)
    elif kind == "fx":
        fx, fy, cx, cy = (_number(values, key, where) for key in ("fx", "fy", "cx", "cy"))
        matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    else:
        matrix = _matrix(values[str(kind)], f"{where}: {kind}")
    focal, principal = checked_intrinsics(matrix, where, centred=True)
    stated = _stated_size(values, where)
    if stated is not None:
        focal, principal = scaled_to(focal, principal, stated, size, str(photo))
    return make_lens(focal, principal, size, distortion, where=where)


def _number(values: dict[str, Any], key: str, where: str) -> float:
    return number(values.get(key), f"{where}: {key}")


def _matrix(value: Any, where: str) -> np.ndarray:
    matrix = flat_numbers(value, 9)
    if matrix is None:
        raise ValueError(f"{where}: expected nine finite numbers, row by row; write it again.")
    return matrix.reshape(3, 3)


def _stated_size(values: dict[str, Any], where: str) -> tuple[int, int] | None:
    for rows, columns in _SIZES:
        if rows in values or columns in values:
            height, width = _number(values, rows, where), _number(values, columns, where)
            if min(height, width) < 1:
                raise ValueError(
                    f"{where}: {rows} x {columns} is {height:g} x {width:g}, expected pixels."
                )
            return round(height), round(width)
    return None
