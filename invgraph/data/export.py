"""Captures written in other programs' formats."""

import json
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from invgraph.data.capture import Capture
from invgraph.data.frame import Frame
from invgraph.data.images import orientation_of
from invgraph.files.atomic import write_atomically
from invgraph.files.pictures import encode_png
from invgraph.geometry import convert, transforms
from invgraph.geometry.camera import Camera
from invgraph.geometry.color import bytes_from_unit
from invgraph.geometry.distortion import COEFFICIENTS

ExportFormat = Literal["transforms", "colmap", "kitti"]

# What transforms.json calls our lens models; nerfstudio does not know the second.
_TRANSFORMS = {"brown": "OPENCV", "rational": "FULL_OPENCV", "fisheye": "OPENCV_FISHEYE"}


def write_capture(capture: Capture, out: str | Path, to: ExportFormat) -> Path:
    """Write the photos, cameras and masks of a capture in another program's format.

    - ``transforms``: ``transforms.json`` beside ``images`` (and ``masks``). Poses are
      world-from-camera with OpenGL axes. The held-out photos are named in ``test_filenames``.
    - ``colmap``: ``sparse/0`` (text) beside ``images`` (and ``masks``, as NAME.png). Equal
      intrinsics share a camera. The sparse points come without colours and tracks.
    - ``kitti``: an odometry sequence, ``image_2``, ``calib.txt``, ``poses.txt``, ``times.txt``. One
      pinhole camera took all photos; the first becomes the world, as the format has it. Every row
      of the calibration holds that camera. Times are written where all photos have one.

    Photos are copied; those with an EXIF orientation are written anew without it, with the pixels
    that their cameras refer to, since other programs may or may not look at it.

    Args:
        capture: with cameras.
        out: a new or empty folder.
        to: the format.

    Returns:
        The folder.

    Raises:
        ValueError: photos have no cameras or cannot be read, ``out`` holds files, or KITTI cannot
            say what the cameras are.
    """
    out = Path(out)
    capture.require_cameras()
    write = {"transforms": _write_transforms, "colmap": _write_colmap, "kitti": _write_kitti}[to]
    return _whole(out, lambda folder: write(capture, folder))


def _write_transforms(capture: Capture, folder: Path) -> None:
    entries, names = [], []
    for frame in capture.frames:
        camera = _exact(frame)
        photo = _write_photo(frame, folder / "images" / frame.name)
        names.append(f"images/{photo.name}")
        entry = {
            "file_path": names[-1],
            "camera_model": _TRANSFORMS[camera.lens.model],
            "fl_x": camera.focal[0].item(),
            "fl_y": camera.focal[1].item(),
            "cx": camera.principal[0].item(),
            "cy": camera.principal[1].item(),
            "h": camera.height,
            "w": camera.width,
            "transform_matrix": convert.to_opengl(camera).tolist(),
        }
        if camera.distortion is not None:
            keys = COEFFICIENTS[camera.lens.model]
            entry |= dict(zip(keys, camera.distortion.tolist(), strict=True))
        mask = _write_mask(frame, folder / "masks" / f"{frame.name}.png")
        if mask is not None:
            entry["mask_path"] = f"masks/{mask.name}"
        entries.append(entry)
    # nerfstudio reads the model of all frames here.
    content: dict[str, object] = {"camera_model": entries[0]["camera_model"]}
    if capture.test:
        content["train_filenames"] = [names[i] for i in capture.train]
        content["test_filenames"] = [names[i] for i in capture.test]
    text = json.dumps(content | {"frames": entries}, indent=1)
    write_atomically(folder / "transforms.json", text.encode())


def _write_colmap(capture: Capture, folder: Path) -> None:
    lenses: dict[str, int] = {}
    images = ["# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, then POINTS2D"]
    for index, frame in enumerate(capture.frames):
        camera = _exact(frame)
        quat, translation = convert.to_colmap(camera)
        model, params = convert.lens_to_colmap(camera.lens)
        lens = f"{model} {camera.width} {camera.height} {_words(params)}"
        number = lenses.setdefault(lens, len(lenses) + 1)
        photo = _write_photo(frame, folder / "images" / frame.name)
        _write_mask(frame, folder / "masks" / f"{photo.name}.png")
        pose = f"{_words(quat)} {_words(translation)}"
        images += [f"{index + 1} {pose} {number} {photo.name}", ""]
    model = folder / "sparse/0"
    model.mkdir(parents=True)
    cameras = [f"{number} {lens}" for lens, number in lenses.items()]
    _write_lines(model / "cameras.txt", ["# CAMERA_ID MODEL WIDTH HEIGHT PARAMS", *cameras])
    _write_lines(model / "images.txt", images)
    points = ["# POINT3D_ID X Y Z R G B ERROR TRACK"]
    if capture.points is not None:
        rows = enumerate(capture.points.double())
        points += [f"{index + 1} {_words(point)} 128 128 128 0" for index, point in rows]
    _write_lines(model / "points3D.txt", points)


def _write_kitti(capture: Capture, folder: Path) -> None:
    cameras = [_exact(frame) for frame in capture.frames]
    first = cameras[0]
    for frame, camera in zip(capture.frames, cameras, strict=True):
        if not (
            (camera.height, camera.width) == (first.height, first.width)
            and torch.allclose(camera.focal, first.focal, rtol=1e-5)
            and torch.allclose(camera.principal, first.principal, rtol=1e-5)
        ):
            raise ValueError(
                f"{frame.name} has other intrinsics than {capture.frames[0].name}, but KITTI has "
                "one camera per folder; convert to transforms or colmap."
            )
    rows = [convert.to_kitti(camera) for camera in cameras]
    start = transforms.invert(_square(rows[0][1]))
    for index, frame in enumerate(capture.frames):
        _write_png(folder / f"image_2/{index:06d}.png", frame.levels())
    projection = _words(rows[0][0].flatten())
    _write_lines(folder / "calib.txt", [f"P{number}: {projection}" for number in range(4)])
    poses = [_words((start @ _square(row))[:3].flatten()) for _, row in rows]
    _write_lines(folder / "poses.txt", poses)
    times = [frame.time for frame in capture.frames if frame.time is not None]
    if len(times) == len(rows):
        _write_lines(folder / "times.txt", [f"{time:.9f}" for time in times])


def _whole(out: Path, write: Callable[[Path], None]) -> Path:
    """Let ``write`` fill a folder that gets its name only when it is complete."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} holds files; give a new or an empty folder.")
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = out.with_name(f".{out.name}.{secrets.token_hex(4)}.part")
    fresh.mkdir()
    try:
        write(fresh)
        if out.exists():
            out.rmdir()
        fresh.rename(out)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    return out


def _exact(frame: Frame) -> Camera:
    return frame.known_camera.to(torch.float64)


def _square(rows: torch.Tensor) -> torch.Tensor:
    return transforms.pose(rows[:, :3], rows[:, 3])


def _words(values: torch.Tensor) -> str:
    return " ".join(f"{value:.12g}" for value in values.tolist())


def _write_lines(path: Path, lines: list[str]) -> None:
    write_atomically(path, ("\n".join(lines) + "\n").encode())


def _write_photo(frame: Frame, stem: Path) -> Path:
    """Copy the photo unless EXIF turns it; ``stem`` is the path without its suffix."""
    if orientation_of(frame.image_path) == 1:
        path = stem.with_name(stem.name + frame.image_path.suffix.lower())
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(frame.image_path, path)
        return path
    path = stem.with_name(f"{stem.name}.png")
    _write_png(path, frame.levels())
    return path


def _write_mask(frame: Frame, path: Path) -> Path | None:
    """Write the mask as PNG, unless the photo has none or carries it as alpha."""
    if frame.mask_source in (None, "alpha"):
        return None
    mask = frame.load_mask()
    assert mask is not None
    _write_png(path, bytes_from_unit(mask).numpy()[..., None])
    return path


def _write_png(path: Path, levels: np.ndarray) -> None:
    """Write ``h w c`` levels losslessly; 16 bits stay 16 bits."""
    if levels.dtype == np.uint16 and levels.shape[2] > 1:
        from kornia_rs import io as kornia_io

        path.parent.mkdir(parents=True, exist_ok=True)
        kind = {3: "rgb", 4: "rgba"}[levels.shape[2]]
        kornia_io.write_image_png_u16(str(path), np.ascontiguousarray(levels), kind)
        return
    write_atomically(path, encode_png(levels[..., 0] if levels.shape[2] == 1 else levels))
