"""A log of a video with its depth and motion, for rerun's viewer (https://rerun.io)."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from invgraph.data.depth_files import encode_depth
from invgraph.geometry.camera import Camera
from invgraph.report.pictures import reduced
from invgraph.report.rerun_log import ORANGE, jpeg, pinhole

if TYPE_CHECKING:
    from rerun import RecordingStream
    from rerun.blueprint import Blueprint

SIDE = 480  # of photos and depth, pixels
FRAME, TIME = "frame", "time"


def blueprint() -> "Blueprint":
    """The scene beside the photo and the depth of the chosen time."""
    import rerun.blueprint as rrb

    views = [
        rrb.Spatial2DView(origin="world/camera", contents=f"world/camera/{role}", name=role)
        for role in ("photo", "depth")
    ]
    scene = rrb.Spatial3DView(origin="world", name="scene")
    return rrb.Blueprint(
        rrb.Horizontal(scene, rrb.Vertical(*views), column_shares=[2, 1]), collapse_panels=True
    )


def log_frame(
    stream: "RecordingStream",
    index: int,
    name: str,
    time: float | None,
    camera: Camera,
    photo: np.ndarray,
    depth: np.ndarray,
    units_per_level: float,
) -> None:
    """Record one frame at its index, and at its time where it has one.

    Args:
        stream: of the log.
        index: of the frame.
        name: of the frame.
        time: seconds; None where the recording has no clock.
        camera: of the photo; its pose places it in the world.
        photo: ``h w 3`` bytes, sRGB.
        depth: ``h w``, of any size.
        units_per_level: the resolution that depth is recorded with.
    """
    import rerun as rr
    from PIL import Image

    stream.set_time(FRAME, sequence=index)
    if time is not None:
        stream.set_time(TIME, duration=time)
    picture = reduced(Image.fromarray(photo), SIDE)
    rotation = camera.camera_from_world[:3, :3].T.numpy()
    place = rr.Transform3D(translation=camera.centre.numpy(), mat3x3=rotation)
    stream.log("world/camera", place)
    stream.log("world/camera", pinhole(camera.lens, picture.size))
    stream.log("world/camera/photo", jpeg(np.asarray(picture)))
    nearest = Image.fromarray(depth.astype(np.float32)).resize(
        picture.size, Image.Resampling.NEAREST
    )
    png = encode_depth(torch.from_numpy(np.array(nearest)), units_per_level)
    levels = rr.EncodedDepthImage(
        blob=png, media_type="image/png", meter=1 / units_per_level, colormap="magma"
    )
    stream.log("world/camera/depth", levels)
    stream.log("frame_name", rr.TextDocument(name))


def log_path(stream: "RecordingStream", centres: np.ndarray) -> None:
    """Record where the camera went, ``n 3``, for all times."""
    import rerun as rr

    line = rr.LineStrips3D([centres], colors=ORANGE, radii=rr.Radius.ui_points(1.0))
    stream.log("world/path", line, static=True)
