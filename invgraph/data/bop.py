"""Scenes in the layout of the BOP benchmark of 6-DoF objects."""

import math
from pathlib import Path

import numpy as np
import torch

from invgraph.data.capture import Capture
from invgraph.data.depth_scale import checked_scale
from invgraph.data.frame import make_camera, make_frame, make_lens
from invgraph.data.images import image_size
from invgraph.data.listing import inside, inside_file, natural, pictures
from invgraph.data.reading import Unreadable, checked_pose, held_out, named
from invgraph.data.text import MissingValue, checked_intrinsics, flat_numbers, read_json
from invgraph.data.transforms_json import refuse_other_terms
from invgraph.data.truth import MeasuredMap, ObjectPose, Truth
from invgraph.geometry.lens import Lens

_METRES = 0.001  # the benchmark's lengths are millimetres
_REMEDY = "download it again."
_MOST_DIGITS = 18  # of an image's or object's number


def read_bop(path: Path) -> Capture:
    """Read one scene: ``scene_camera.json`` and the photos in ``rgb`` or ``gray``.

    ``cam_K`` gives the intrinsics (integers are pixel centres), ``cam_R_w2c`` and ``cam_t_w2c`` the
    camera where all photos have them. Truth: depth, and the objects of ``scene_gt.json`` with their
    visible pixels from ``mask_visib``. Lengths become metres.

    Args:
        path: a scene's folder, such as ``test/000001``.

    Raises:
        ValueError: a file cannot be used; the message names it.

    Source:
        Hodaň et al., BOP: Benchmark for 6D Object Pose Estimation (2018), format of the public
        toolkit.
    """
    source = inside(path, "scene_camera.json", path)
    cameras = _by_number(read_json(source, _REMEDY))
    photos = next(
        (
            found
            for kind in ("rgb", "gray")
            if (path / kind).is_dir() and (found := pictures(path / kind, path))
        ),
        [],
    )
    listed = inside_file(path / "scene_gt.json", path)
    objects = {} if listed is None else _by_number(read_json(listed, _REMEDY))
    entries = [cameras.get(_number(photo.stem)) for photo in photos]
    posed = any("cam_R_w2c" in entry for entry in entries if isinstance(entry, dict))
    unreadable = Unreadable(path)
    unreadable.note_unopened(path / "rgb", path / "gray", path / "mask_visib")
    frames, depth, poses = [], [], []
    for photo, entry in zip(photos, entries, strict=True):
        index = _number(photo.stem)
        where = f"{source}: image {index}"
        with unreadable.skipping(photo.name):
            if not isinstance(entry, dict):
                raise MissingValue(
                    f"{source} has no entry for {photo.name}; download the scene again."
                )
            lens, camera = _lens(entry, image_size(photo, as_stored=True), where), None
            if posed:
                pose = _rigid(entry, "cam_R_w2c", "cam_t_w2c", where)
                lens, camera = None, make_camera(pose, lens)
            frame = make_frame(photo, camera, lens=lens, as_stored=True)
            file = inside_file(path / "depth" / f"{photo.stem}.png", path)
            scale = checked_scale(entry.get("depth_scale", 1.0), f"{where}: depth_scale") * _METRES
            poses.append(_objects(objects.get(index, []), photo, path))
            depth.append(None if file is None else MeasuredMap(file, scale))
            frames.append(frame)
    split = held_out(len(frames), unreadable)
    return Capture(
        path.resolve().name,
        named(frames, path),
        split,
        truth=Truth(
            depth=tuple(depth) if any(depth) else (), objects=tuple(poses) if objects else ()
        ),
        skipped=tuple(unreadable.reasons),
    )


def bop_models(path: Path) -> dict[int, Path]:
    """The CAD models (PLY, millimetres) of the data set that a scene's folder belongs to.

    Args:
        path: a scene's folder; models lie two folders above, in ``models`` or ``models_cad``.
    """
    root = path.resolve().parent.parent
    for name in ("models", "models_cad"):
        found = {
            number: inside(root, str(file.relative_to(root)), root)
            for file in sorted((root / name).glob("obj_*.ply"), key=natural)
            if (number := _number(file.stem.removeprefix("obj_"))) is not None
        }
        if found:
            return found
    return {}


def _number(value: object) -> int | None:
    """A number of an image or an object, which may be text padded with zeros."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isdecimal() and len(value) <= _MOST_DIGITS:
        return int(value)
    return None


def _by_number(entries: dict) -> dict:
    numbered = ((_number(key), entry) for key, entry in entries.items())
    return {number: entry for number, entry in numbered if number is not None}


def _is_lost(value: object) -> bool:
    """Whether there is nothing where numbers should be, or NaN or infinity among them."""
    if isinstance(value, list):
        return any(_is_lost(item) for item in value)
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _array(value: object, count: int, where: str) -> np.ndarray:
    array = flat_numbers(value, count)
    if array is None:
        kind = MissingValue if _is_lost(value) else ValueError
        raise kind(f"{where}: expected {count} finite numbers; download the scene again.")
    return array


def _lens(entry: dict, size: tuple[int, int], where: str) -> Lens:
    if "cam_model" in entry:
        model = entry["cam_model"]
        name = model.get("projection_model_type") if isinstance(model, dict) else model
        raise ValueError(
            f"{where}: cam_model {name!r:.60} is not supported, only cam_K; undistort the photos "
            "first."
        )
    refuse_other_terms(entry, (), where, "read beside cam_K; undistort the photos first")
    matrix = _array(entry.get("cam_K"), 9, f"{where}: cam_K").reshape(3, 3)
    focal, principal = checked_intrinsics(matrix, f"{where}: cam_K", centred=True)
    return make_lens(focal, principal, size, where=f"{where}: cam_K")


def _rigid(entry: dict, rotation: str, translation: str, where: str) -> np.ndarray:
    turn = _array(entry.get(rotation), 9, f"{where}: {rotation}").reshape(3, 3)
    shift = _array(entry.get(translation), 3, f"{where}: {translation}") * _METRES
    return checked_pose(np.column_stack([turn, shift]), where)


def _objects(entries: object, photo: Path, path: Path) -> tuple[ObjectPose, ...]:
    where = f"{path / 'scene_gt.json'}: image {_number(photo.stem)}"
    if not isinstance(entries, list):
        raise ValueError(f"{where}: expected a list of objects; download the scene again.")
    found = []
    for index, entry in enumerate(entries):
        number = _number(entry.get("obj_id")) if isinstance(entry, dict) else None
        if number is None:
            raise ValueError(f"{where}: object {index} has no obj_id; download the scene again.")
        pose = _rigid(entry, "cam_R_m2c", "cam_t_m2c", where)
        mask = inside_file(path / "mask_visib" / f"{photo.stem}_{index:06d}.png", path)
        found.append(ObjectPose(number, torch.from_numpy(pose.astype(np.float32)), mask))
    return tuple(found)
