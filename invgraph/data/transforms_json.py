"""Captures in the ``transforms.json`` format of Blender, instant-ngp and nerfstudio."""

import math
import os
import re
from pathlib import Path

import numpy as np

from invgraph.data.capture import Capture
from invgraph.data.frame import make_camera, make_frame, make_lens
from invgraph.data.images import UnreadableImage, image_size
from invgraph.data.listing import SUFFIXES, inside, inside_file
from invgraph.data.reading import Unreadable, checked_pose, held_out, named
from invgraph.data.text import number, read_json, size_remedy
from invgraph.data.truth import SceneTruth, Truth
from invgraph.geometry.distortion import COEFFICIENTS, Model
from invgraph.geometry.lens import Lens

# OpenGL cameras look along -z with y up; ours look along +z with y down.
_OPENGL_FROM_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
# Our models by the name that nerfstudio, or COLMAP, has for them.
_MODELS: dict[str, Model] = {
    "OPENCV": "brown",
    "PINHOLE": "brown",
    "SIMPLE_PINHOLE": "brown",
    "SIMPLE_RADIAL": "brown",
    "RADIAL": "brown",
    "PERSPECTIVE": "brown",
    "FULL_OPENCV": "rational",
    "OPENCV_FISHEYE": "fisheye",
    "SIMPLE_RADIAL_FISHEYE": "fisheye",
    "RADIAL_FISHEYE": "fisheye",
    "SIMPLE_FISHEYE": "fisheye",
    "FISHEYE": "fisheye",
}
_LISTED = ("k1", "k2", "k3", "k4", "p1", "p2")  # nerfstudio's distortion_params
_OTHER_LENSES = ("ftheta_p0", "latlong", "equirectangular")  # of instant-ngp
# What programs call terms of lenses: OpenCV's, ViSP's, COLMAP's, Metashape's, instant-ngp's,
# Kalibr's, RealSense's.
_TERMS = re.compile(
    r"[Kkpsb]\d\d?|s[xy]\d|tau_?[xy]|kud|kdu|omega|xi|skew|rolling_shutter|D|coeffs"
    r"|(?:cam_)?dist(?:ortion)?_?(?:[Cc]oef\w*|params)?|(?:radial|tangential)_distortion"
)
# Where programs name a lens model, besides camera_model, and names of Brown's, whose terms (or
# that there are none) stand elsewhere.
_MODEL_KEYS = ("cam_model", "distortion_model", "lens_model", "projection_model")
_BROWN = ("none", "pinhole", "simple_pinhole", "perspective", "plumb_bob", "radtan", "brown")


def read_transforms_json(path: Path) -> Capture:
    """Read one ``transforms.json``, or ``transforms_train.json`` with its test file.

    Intrinsics are ``fl_x, fl_y, cx, cy`` (corner origin; pixels as the files store them, since
    neither nerfstudio nor instant-ngp looks at EXIF's orientation) with the coefficients of
    ``camera_model`` (``k1, k2, p1, p2, k3`` of OPENCV, ``k1`` to ``k4`` of OPENCV_FISHEYE, all up
    to ``k6`` of FULL_OPENCV, or nerfstudio's list ``distortion_params``), or ``camera_angle_x``
    (radians); a frame's own values win over the file's. ``transform_matrix`` is
    world-from-camera with OpenGL axes. The mask is ``mask_path`` or the photo's alpha. The test
    split is ``transforms_test.json`` (else ``_val``) beside ``_train``, or ``test_filenames`` (else
    ``val_filenames``) inside the file, or every 8th photo.

    Args:
        path: the folder, or the JSON file itself.

    Raises:
        ValueError: the file or one of its frames cannot be used; the message names it.
    """
    main, test = _find(path)
    folder = main.parent
    for source in (main, test):
        if source is not None:
            inside_file(source, folder)
    unreadable = Unreadable(main)
    frames, image_names = _read_frames(main, unreadable)
    split: tuple[int, ...]
    if test is not None:
        extra, _ = _read_frames(test, unreadable)
        unreadable.require(min(len(frames), len(extra)), 1)
        split = tuple(range(len(frames), len(frames) + len(extra)))
        frames = frames + extra
    else:
        frames, split = _split_inside(main, frames, image_names, unreadable)
    truth = folder / "truth"
    inside_file(truth / "light.npz", folder)
    known = inside_file(truth / "object.glb", folder) is not None
    return Capture(
        name=folder.resolve().name,
        frames=named(frames, folder),
        test=split,
        truth=Truth(scene=SceneTruth(truth)) if known else None,
        skipped=tuple(unreadable.reasons),
    )


def _find(path: Path) -> tuple[Path, Path | None]:
    if path.is_file():
        return path, None
    if (path / "transforms.json").is_file():
        return path / "transforms.json", None
    tests = [path / f"transforms_{split}.json" for split in ("test", "val")]
    return path / "transforms_train.json", next((test for test in tests if test.is_file()), None)


def _split_inside(
    main: Path, frames: list, names: list[str], unreadable: Unreadable
) -> tuple[list, tuple[int, ...]]:
    """Apply the split lists nerfstudio writes into the file, else hold out every 8th photo."""
    content = _load(main)
    lists = {}
    for key in ("train_filenames", "test_filenames", "val_filenames"):
        listed = content.get(key)
        if listed:
            if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
                raise ValueError(
                    f"{main}: {key} is not a list of file names; correct or remove it."
                )
            lists[key] = {str(Path(item)) for item in listed}
    test = lists.get("test_filenames") or lists.get("val_filenames")
    if not test:
        return frames, held_out(len(frames), unreadable)
    train = lists.get("train_filenames") or set(names) - set().union(*lists.values())
    kept = [i for i, name in enumerate(names) if name in test or name in train]
    split = tuple(i for i, old in enumerate(kept) if names[old] in test)
    if not split or len(split) == len(kept):
        raise ValueError(
            f"{main}: its split lists leave {len(kept) - len(split)} training and {len(split)} "
            "test photos; name files from frames[].file_path in them, or remove the lists."
        )
    return [frames[i] for i in kept], split


def _load(path: Path) -> dict:
    if not path.exists():
        raise ValueError(f"{path} is missing; give a folder that holds transforms.json.")
    return read_json(path, "export the cameras again.")


def _read_frames(path: Path, unreadable: Unreadable) -> tuple[list, list[str]]:
    """Frames and the file names the JSON gives them (normalised, for split lists)."""
    content = _load(path)
    entries = content.get("frames")
    if not isinstance(entries, list) or not entries:
        raise ValueError(f'{path}: "frames" lists no photo; export the cameras again.')
    frames, names, folders = [], [], []
    for index, entry in enumerate(entries):
        where = f"{path}: frames[{index}]"
        if not isinstance(entry, dict):
            raise ValueError(f"{where} is no JSON object; export the cameras again.")
        name = entry.get("file_path")
        image_path = inside(path.parent, name, path)
        mask_path = None
        if entry.get("mask_path") is not None:
            mask_path = inside(path.parent, entry["mask_path"], path)
        with unreadable.skipping(str(name)):
            world_from_camera = checked_pose(entry.get("transform_matrix"), where)
            camera_from_world = np.linalg.inv(world_from_camera @ _OPENGL_FROM_OPENCV)
            image_path = _existing(image_path, path)
            unreadable.once(image_path, path)
            size = image_size(image_path, as_stored=True)
            lens = read_lens({**content, **entry}, size, image_path, where)
            camera = make_camera(camera_from_world, lens)
            frames.append(make_frame(image_path, camera, mask_path=mask_path, as_stored=True))
            names.append(str(Path(str(name))))
        folders.append(image_path.parent)
        if mask_path is not None:
            folders.append(mask_path.parent)
    unreadable.note_unopened(*folders)
    return frames, names


def _existing(path: Path, source: Path) -> Path:
    if path.is_file():
        return path
    for suffix in SUFFIXES:
        name = os.path.relpath(f"{path}{suffix}", source.parent)
        candidate = inside(source.parent, name, source)
        if candidate.is_file():
            return candidate
    raise UnreadableImage(f"{path} is missing (named in {source}); restore it or remove its frame.")


def read_lens(values: dict, found: tuple[int, int], image_path: Path, where: str) -> Lens:
    """The lens of one frame.

    Args:
        values: of the file and of the frame.
        found: (height, width) of the photo as it is stored.
        image_path: the photo, for messages.
        where: file and frame, for messages.

    Raises:
        ValueError: no focal length, a size that is not the photo's, or an unsupported lens model.
    """

    def get(key: str) -> float | None:
        value = values.get(key)
        return None if value is None else number(value, f"{where}: {key}")

    model = _model(values, where)
    listed = values.get("distortion_params")
    if listed is not None:
        if not isinstance(listed, list) or len(listed) != len(_LISTED):
            raise ValueError(
                f"{where}: distortion_params is {listed!r:.60}, expected the list "
                f"{', '.join(_LISTED)}."
            )
        values = values | dict(zip(_LISTED, listed, strict=True))
        values = {key: value for key, value in values.items() if key != "distortion_params"}
    height, width = (
        float(own) if stated is None else stated
        for own, stated in zip(found, (get("h"), get("w")), strict=True)
    )
    if (height, width) != found:
        otherwise = "resize the photo or correct h, w and the intrinsics"
        remedy = size_remedy(found, (round(height), round(width)), otherwise)
        raise ValueError(
            f"{image_path} is {found[0]}x{found[1]} (h x w) but {where} says "
            f"{height:g}x{width:g}; {remedy}."
        )
    fx, fy = get("fl_x"), get("fl_y")
    # An angle tells the focal length of a pinhole only.
    angle = None if model == "fisheye" else get("camera_angle_x")
    if fx is None and angle is not None and 0 < angle < math.pi:
        fx = width / 2 / math.tan(angle / 2)
        angle_y = get("camera_angle_y")
        if fy is None and angle_y is not None and 0 < angle_y < math.pi:
            fy = height / 2 / math.tan(angle_y / 2)
    fx = fy if fx is None else fx
    fy = fx if fy is None else fy
    if fx is None or fy is None or fx <= 0 or fy <= 0:
        raise ValueError(
            f"{where}: no focal length; give fl_x (pixels) or, but for a fisheye, camera_angle_x "
            "(radians, 0 to pi)."
        )
    cx, cy = get("cx"), get("cy")
    principal = (width / 2 if cx is None else cx, height / 2 if cy is None else cy)
    known = COEFFICIENTS[model]
    bent = tuple(get(key) or 0.0 for key in known)
    refuse_other_terms(
        values,
        known,
        where,
        f"part of the lens model {values.get('camera_model')!r:.40}, which has {', '.join(known)}; "
        "correct camera_model or undistort the photos first",
    )
    straight = model == "brown" and not any(bent)
    return make_lens((fx, fy), principal, found, None if straight else bent, model, where=where)


def refuse_other_terms(values: dict, known: tuple[str, ...], where: str, rule: str) -> None:
    """Refuse a lens that has terms which would be left out, or another model's name.

    Args:
        values: of the file.
        known: the terms that are read.
        where: file and frame, for the message.
        rule: what the others are not, and what to do, for the message.

    Raises:
        ValueError: a term besides ``known`` is there and not zero, or a model that has others.
    """
    for key in _MODEL_KEYS:
        name = values.get(key)
        if name is not None and str(name).lower() not in _BROWN:
            raise ValueError(f"{where}: {key} {name!r:.40} is not {rule}.")
    for key, value in values.items():
        if key in known or not _TERMS.fullmatch(key):
            continue
        listed = value if isinstance(value, list) else [value]
        if any(item not in (None, 0) for item in listed):
            raise ValueError(f"{where}: {key} is not {rule}.")


def _model(values: dict, where: str) -> Model:
    """Our name of the model that ``camera_model`` and instant-ngp's own keys speak of."""
    name, fisheye = values.get("camera_model"), values.get("is_fisheye")
    other = next((key for key in _OTHER_LENSES if values.get(key)), None)
    model = None if name is None else _MODELS.get(str(name).upper())
    if other is not None or (name is not None and model is None):
        raise ValueError(
            f"{where}: camera_model {other or name!r:.40} is not supported, only "
            f"{', '.join(_MODELS)}; undistort the photos first."
        )
    if fisheye is not None and not isinstance(fisheye, bool):
        raise ValueError(f"{where}: is_fisheye is {fisheye!r:.40}, expected true or false.")
    if fisheye is not None and model is not None and fisheye != (model == "fisheye"):
        raise ValueError(
            f"{where}: is_fisheye is {str(fisheye).lower()} but camera_model is {name!r:.40}; "
            "correct one of them."
        )
    return "fisheye" if fisheye else model or "brown"
