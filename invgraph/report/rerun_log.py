"""A run as a log for rerun's viewer (https://rerun.io)."""

import contextlib
import errno
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from invgraph.data.depth_files import read_depth
from invgraph.data.point_files import decode_points
from invgraph.files.pictures import encode_jpeg
from invgraph.geometry.lens import Lens
from invgraph.report.pictures import reduced
from invgraph.report.viewer_data import frustum, world_up
from invgraph.runs.reader import RERUN_LOG, CameraRecord, RunContents, read_run

if TYPE_CHECKING:
    from rerun import RecordingStream
    from rerun.blueprint import Blueprint

SIDE = 640  # of photos, pixels
TRAINING_PHOTOS = 60
TIMELINE = "photo"
_PATIENCE_S = 60.0  # for what is still to be written
BLUE, ORANGE, GREY = (59, 130, 246), (242, 140, 26), (150, 150, 150)


def write_rerun_log(run: Path, photos: Iterable[tuple[str, np.ndarray]] = ()) -> None:
    """Write ``recording.rrd``: mesh, sparse points, cameras, and along a timeline the photos.

    Held-out photos come from the run folder, with their renders and depth maps. Names stay data:
    no entity is named after a file.

    Args:
        run: the folder that a fit wrote.
        photos: training photos by name, ``h w 3`` bytes; some, evenly spread, are taken.

    Raises:
        ImportError: ``rerun-sdk`` is not installed.
        ValueError: ``run`` holds nothing that a fit writes.
    """
    folder = read_run(run)
    with recorded(run, _blueprint) as stream:
        _log_world(stream, folder)
        _log_photos(stream, folder, photos)


@contextlib.contextmanager
def recorded(run: Path, blueprint: Callable[[], "Blueprint"]) -> Iterator["RecordingStream"]:
    """A stream that becomes ``recording.rrd`` if nothing is raised meanwhile."""
    import rerun as rr

    stream = rr.RecordingStream("invgraph")
    fresh = run / f".{RERUN_LOG}.{secrets.token_hex(4)}.part"
    try:
        stream.save(fresh, default_blueprint=blueprint())
        yield stream
        try:
            stream.flush(timeout_sec=_PATIENCE_S)
        except RuntimeError as error:  # rerun writes in a thread, which says no more than that
            raise OSError(errno.EIO, f"rerun could not write it ({error})", str(fresh)) from error
        stream.disconnect()
        os.replace(fresh, run / RERUN_LOG)
    except BaseException:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise


def _blueprint():
    """The scene beside the photo, the render and the depth of the chosen time."""
    import rerun.blueprint as rrb

    views = [
        rrb.Spatial2DView(origin="world/camera", contents=f"world/camera/{role}", name=role)
        for role in ("photo", "render", "depth")
    ]
    scene = rrb.Spatial3DView(
        origin="world", contents=["+ $origin/**", "- world/camera/depth"], name="scene"
    )
    return rrb.Blueprint(
        rrb.Horizontal(scene, rrb.Vertical(*views), column_shares=[2, 1]), collapse_panels=True
    )


def _log_world(stream: "RecordingStream", folder: RunContents) -> None:
    import rerun as rr

    up = world_up(folder.poses)
    axis = int(np.argmax(np.abs(up)))
    names = ("RIGHT_HAND_X", "RIGHT_HAND_Y", "RIGHT_HAND_Z")
    coordinates = getattr(rr.ViewCoordinates, f"{names[axis]}_{'UP' if up[axis] > 0 else 'DOWN'}")
    stream.log("world", coordinates, static=True)
    if folder.glb is not None:
        mesh = rr.Asset3D(contents=folder.glb.read_bytes(), media_type="model/gltf-binary")
        stream.log("world/mesh", mesh, static=True)
    if folder.points is not None:
        with contextlib.suppress(ValueError):  # the report says what is damaged
            points = decode_points(folder.points.read_bytes())
            radii = rr.Radius.ui_points(1.5)
            stream.log("world/points", rr.Points3D(points, colors=GREY, radii=radii), static=True)
    if not folder.poses:
        return
    length = _frustum_length(folder.poses)
    path = np.array([pose.centre for pose in folder.poses])
    thin = rr.Radius.ui_points(1.0)
    stream.log("world/path", rr.LineStrips3D([path], colors=GREY, radii=thin), static=True)
    for split, color in (("train", BLUE), ("test", ORANGE)):
        outlines = [_outline(pose, length) for pose in folder.poses if _split(pose) == split]
        name = "held_out" if split == "test" else "training"
        if outlines:
            lines = rr.LineStrips3D(outlines, colors=color, radii=thin)
            stream.log(f"world/cameras/{name}", lines, static=True)


def _log_photos(
    stream: "RecordingStream", folder: RunContents, photos: Iterable[tuple[str, np.ndarray]]
) -> None:
    import rerun as rr
    from PIL import Image

    places = {pose.name: index for index, pose in enumerate(folder.poses)}
    training = sum(_split(pose) == "train" for pose in folder.poses)
    step = max(1, -(-training // TRAINING_PHOTOS))
    for count, (name, pixels) in enumerate(photos):
        if count % step == 0 and name in places:
            index = places[name]
            picture = reduced(Image.fromarray(pixels), SIDE)
            _log_camera(stream, index, folder.poses[index], picture.size)
            stream.log("world/camera/photo", jpeg(np.asarray(picture)))
            for role in ("render", "depth"):
                stream.log(f"world/camera/{role}", rr.Clear(recursive=False))
    for view in folder.views:
        if view.name not in places or not view.pictures:
            continue
        index = places[view.name]
        size = None
        for role in ("photo", "render"):
            with contextlib.suppress(
                OSError, ValueError, SyntaxError, Image.DecompressionBombError
            ):
                with Image.open(view.pictures[role], formats=("PNG",)) as image:
                    picture = reduced(image.convert("RGB"), SIDE)
                if size is None:
                    size = picture.size
                    _log_camera(stream, index, folder.poses[index], size)
                stream.log(f"world/camera/{role}", jpeg(np.asarray(picture)))
        if size is not None and "depth" in view.pictures:
            with contextlib.suppress(ValueError):
                levels, unit = read_depth(view.pictures["depth"])
                small = Image.fromarray(levels).resize(size, Image.Resampling.NEAREST)
                depth = rr.DepthImage(np.asarray(small), meter=1 / unit, colormap="magma")
                stream.log("world/camera/depth", depth)


def _log_camera(
    stream: "RecordingStream", index: int, pose: CameraRecord, size: tuple[int, int]
) -> None:
    """From here on the stream's time is that of photo ``index``, of ``size`` width and height."""
    import rerun as rr

    stream.set_time(TIMELINE, sequence=index)
    rotation = pose.camera_from_world[:3, :3].T
    stream.log("world/camera", rr.Transform3D(translation=pose.centre, mat3x3=rotation))
    stream.log("world/camera", pinhole(pose.camera.lens, size))
    stream.log("photo_name", rr.TextDocument(pose.name))


def pinhole(lens: Lens, size: tuple[int, int]):
    """A lens, but for its distortion, as rerun keeps it for a picture of a width and height."""
    import rerun as rr

    small = lens.resize(size[1], size[0])
    return rr.Pinhole(
        focal_length=small.focal.numpy(),
        principal_point=small.principal.numpy(),
        resolution=size,
        camera_xyz=rr.ViewCoordinates.RDF,
    )


def jpeg(pixels: np.ndarray):
    """A picture, ``h w 3`` bytes, as rerun keeps it."""
    import rerun as rr

    return rr.EncodedImage(contents=encode_jpeg(pixels), media_type="image/jpeg")


def _split(pose: CameraRecord) -> str:
    return "test" if pose.split == "test" else "train"


def _frustum_length(poses: list[CameraRecord]) -> float:
    """A depth at which frusta are drawn: a part of how far the cameras are apart."""
    centres = np.array([pose.centre for pose in poses])
    return max(0.06 * float(np.linalg.norm(np.ptp(centres, axis=0))), 1e-6)


def _outline(pose: CameraRecord, length: float) -> np.ndarray:
    """A pyramid drawn in one stroke."""
    corners = frustum(pose)
    apex, rim = corners[0], corners[0] + length * (corners[1:] - corners[0])
    a, b, c, d = rim
    return np.array([apex, a, b, apex, c, d, apex, d, a, b, c])
