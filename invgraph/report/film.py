"""Films as mp4 that browsers play, such as a fly-through of a fitted scene."""

import contextlib
import io
import math
import time
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from invgraph.files.atomic import write_atomically
from invgraph.geometry.camera import Camera, stack
from invgraph.geometry.color import srgb_bytes_from_linear
from invgraph.rendering.render import render
from invgraph.report.viewpoints import fly_through
from invgraph.runs.progress import Progress
from invgraph.runs.reader import FILM, read_cameras
from invgraph.scene import Scene

VIEWS, RATE, SIDE = 120, 24, 480
BATCH = 8  # cameras that share what the light does to the surface
STRIDES = (1, 2, 3, 4)
BT709 = 1  # the number that H.264 and libav give to these colours


@torch.no_grad()
def write_film(
    run: Path,
    scene: Scene,
    seconds: float = math.inf,
    progress: Progress | None = None,
) -> bool:
    """Write ``flythrough.mp4``: five seconds, H.264 in yuv420p.

    Args:
        run: the folder; its cameras say where to fly.
        seconds: to spend at most; fewer pictures a second are made where they do not suffice.
        progress: hears how far it is.

    Returns:
        Whether there is a film now: False when the time is too short for one.

    Raises:
        ImportError: PyAV is not installed.
        ValueError: the scene has no vertices.
    """
    import av  # noqa: F401  before anything is rendered

    progress = progress or Progress()
    progress.stage("fly-through")
    began = time.monotonic()
    cameras = fly_through(scene, VIEWS, SIDE, read_cameras(run))
    first = _pictures(scene, cameras[:BATCH])
    usual = (time.monotonic() - began) / BATCH
    stride = next((s for s in STRIDES if usual * (VIEWS / s) < seconds), None)
    if stride is None:
        return False
    cameras = cameras[::stride]
    parts = range(0, len(cameras), BATCH)

    def pictures() -> Iterator[np.ndarray]:
        for start in parts:
            batch = cameras[start : start + BATCH]
            yield from (first if stride == 1 and start == 0 else _pictures(scene, batch)).numpy()
            done = start + len(batch)
            progress.update(done / len(cameras), f"{done} of {len(cameras)} pictures")

    write_atomically(run / FILM, encode_film(pictures(), RATE // stride))
    return True


def encode_film(pictures: Iterable[np.ndarray], rate: int) -> bytes:
    """An mp4 of H.264 in yuv420p.

    Args:
        pictures: as :func:`open_film` takes them, at least one.
        rate: pictures a second.

    Raises:
        ImportError: PyAV is not installed.
    """
    file = io.BytesIO()
    with open_film(file, rate) as add:
        for picture in pictures:
            add(picture)
    return file.getvalue()


@contextlib.contextmanager
def open_film(
    file: Path | io.BytesIO, rate: int | Fraction
) -> Iterator[Callable[[np.ndarray], None]]:
    """An mp4 of H.264 in yuv420p, picture by picture, so that long films need little memory.

    Args:
        file: what to write to; it is a film when the context ends.
        rate: pictures a second.

    Returns:
        A function that adds a picture: ``h w 3`` bytes, sRGB, all of one size; an odd last row or
        column is left out.

    Raises:
        ImportError: PyAV is not installed.
    """
    import av

    with av.open(str(file) if isinstance(file, Path) else file, "w", format="mp4") as container:
        options = {"crf": "20", "preset": "fast"}
        stream = container.add_stream("libx264", rate=rate, options=options)
        begun = False

        def add(picture: np.ndarray) -> None:
            nonlocal begun
            even = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]
            if not begun:
                stream.height, stream.width = even.shape[:2]
                stream.pix_fmt = "yuv420p"
                stream.codec_context.colorspace = BT709
                begun = True
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709")
            container.mux(stream.encode(frame))

        yield add
        container.mux(stream.encode())


def _pictures(scene: Scene, cameras: list[Camera]) -> Tensor:
    """What some cameras see, sRGB bytes."""
    color = render(scene, stack(cameras), outputs=("color",)).color
    assert color is not None
    return srgb_bytes_from_linear(color)
