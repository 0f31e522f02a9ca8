"""Scenes in the layout of the BOP benchmark of 6-DoF objects."""

from pathlib import Path

import numpy as np
import torch

from invgraph.data.capture import Capture
from invgraph.data.frame import make_camera, make_frame, make_lens
from invgraph.data.images import image_size, natural, pictures
from invgraph.data.reading import Unreadable, checked_pose, held_out, named
from invgraph.data.text import checked_intrinsics, flat_numbers, number, read_json
from invgraph.data.truth import MeasuredMap, ObjectPose, Truth
from invgraph.geometry.lens import Lens

_METRES = 0.001  # the benchmark's lengths are millimetres
_FINEST, _COARSEST = 1e-9, 1e6  # millimetres per level of a depth image
_REMEDY = "download it again."


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
    source = path / "scene_camera.json"
    cameras = read_json(source, _REMEDY)
    photos = next(
        (
            found
            for kind in ("rgb", "gray")
            if (path / kind).is_dir() and (found := pictures(path / kind, path))
        ),
        [],
    )
    listed = path / "scene_gt.json"
    objects = read_json(listed, _REMEDY) if listed.is_file() else {}
    posed = all("cam_R_w2c" in _entry(cameras, photo, source) for photo in photos)
    unreadable = Unreadable(path)
    frames, depth, poses = [], [], []
    for photo in photos:
        where = f"{source}: image {int(photo.stem)}"
        entry = _entry(cameras, photo, source)
        with unreadable.skipping(photo.name):
            lens, camera = _lens(entry, image_size(photo, as_stored=True), where), None
            if posed:
                pose = _rigid(entry, "cam_R_w2c", "cam_t_w2c", where)
                lens, camera = None, make_camera(pose, lens)
            frames.append(make_frame(photo, camera, lens=lens, as_stored=True))
            file = path / "depth" / f"{photo.stem}.png"
            scale = _METRES * _depth_scale(entry, where)
            depth.append(MeasuredMap(file, scale) if file.is_file() else None)
            poses.append(_objects(objects.get(str(int(photo.stem)), []), photo, path))
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
        found = sorted((root / name).glob("obj_*.ply"), key=natural)
        if found:
            return {int(file.stem.removeprefix("obj_")): file for file in found}
    return {}


def _entry(cameras: dict, photo: Path, source: Path) -> dict:
    entry = cameras.get(str(int(photo.stem))) if photo.stem.isdecimal() else None
    if not isinstance(entry, dict):
        raise ValueError(f"{source} has no entry for {photo.name}; download the scene again.")
    return entry


def _array(value: object, count: int, where: str) -> np.ndarray:
    array = flat_numbers(value, count)
    if array is None:
        raise ValueError(f"{where}: expected {count} finite numbers; download the scene again.")
    return array


def _depth_scale(entry: dict, where: str) -> float:
    """Millimetres per level of a depth image."""
    scale = number(entry.get("depth_scale", 1.0), f"{where}: depth_scale")
    if not _FINEST <= scale <= _COARSEST:
        raise ValueError(
            f"{where}: depth_scale is {scale:g}, expected {_FINEST:g} to "
            f"{_COARSEST:g} mm; correct it."
        )
    return scale


def _lens(entry: dict, size: tuple[int, int], where: str) -> Lens:
    if "cam_model" in entry:
        model = entry["cam_model"]
        name = model.get("projection_model_type") if isinstance(model, dict) else model
        raise ValueError(
            f"{where}: cam_model {name!r:.60} is not supported, only cam_K; undistort the photos "
            "first."
        )
    matrix = _array(entry.get("cam_K"), 9, f"{where}: cam_K").reshape(3, 3)
    focal, principal = checked_intrinsics(matrix, f"{where}: cam_K", centred=True)
    return make_lens(focal, principal, size, where=f"{where}: cam_K")


def _rigid(entry: dict, rotation: str, translation: str, where: str) -> np.ndarray:
    turn = _array(entry.get(rotation), 9, f"{where}: {rotation}").reshape(3, 3)
    shift = _array(entry.get(translation), 3, f"{where}: {translation}") * _METRES
    return checked_pose(np.column_stack([turn, shift]), where)


def _objects(entries: object, photo: Path, path: Path) -> tuple[ObjectPose, ...]:
    where = f"{path / 'scene_gt.json'}: image {int(photo.stem)}"
    if not isinstance(entries, list):
        raise ValueError(f"{where}: expected a list of objects; download the scene again.")
    found = []
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("obj_id"), int):
            raise ValueError(f"{where}: object {index} has no obj_id; download the scene again.")
        pose = _rigid(entry, "cam_R_m2c", "cam_t_m2c", where)
        mask = path / "mask_visib" / f"{photo.stem}_{index:06d}.png"
        found.append(
            ObjectPose(
                entry["obj_id"],
                torch.from_numpy(pose.astype(np.float32)),
                mask if mask.is_file() else None,
            )
        )
    return tuple(found)
