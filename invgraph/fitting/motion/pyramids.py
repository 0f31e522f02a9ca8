"""Grey pictures of a video at the size that motion is estimated in."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from invgraph.data.frame import Frame

_MOST_PIXELS = 200_000
_LEAST_SIDE = 30  # pixels of the coarsest level's shorter side
_MOST_LEVELS = 4
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)

Pyramid = tuple[np.ndarray, ...]


def shrinking(size: tuple[int, int]) -> int:
    """How many of a frame's pixels, along one side, are averaged into one that is worked with."""
    return max(1, math.ceil(math.sqrt(size[0] * size[1] / _MOST_PIXELS)))


def load_picture(frame: Frame, factor: int) -> Float[np.ndarray, "h w"]:
    """Levels, 0 to 255 as displayed, of a frame at the working size.

    Raises:
        ValueError: the file is missing, damaged or of another size than it was.
    """
    levels = frame.levels()
    if levels.shape[:2] != frame.size:
        raise ValueError(
            f"{frame.image_path} is {levels.shape[0]}x{levels.shape[1]} (h x w), expected "
            f"{frame.size[0]}x{frame.size[1]}; read the video again."
        )
    plane = levels[..., :3] @ _LUMA if levels.shape[2] >= 3 else levels[..., 0].astype(np.float32)
    if levels.dtype == np.uint16:
        plane = plane / np.float32(257)
    height, width = (side // factor for side in plane.shape)
    blocks = plane[: height * factor, : width * factor].reshape(height, factor, width, factor)
    return np.ascontiguousarray(blocks.mean((1, 3), dtype=np.float32))


def pyramid(picture: Float[np.ndarray, "h w"]) -> Pyramid:
    """The picture, slightly smoothed, and halved again and again; finest first."""
    levels = [_smooth(picture)]
    while len(levels) < _MOST_LEVELS and min(levels[-1].shape) >= 2 * _LEAST_SIDE:
        height, width = (side // 2 for side in levels[-1].shape)
        blocks = levels[-1][: 2 * height, : 2 * width].reshape(height, 2, width, 2)
        levels.append(np.ascontiguousarray(blocks.mean((1, 3), dtype=np.float32)))
    return tuple(levels)


def _smooth(picture: np.ndarray) -> np.ndarray:
    """1 2 1 along rows and columns: what bilinear sampling would blur is blurred already."""
    wide = np.pad(picture, 1, mode="edge")
    rows = wide[:-2] + 2 * wide[1:-1] + wide[2:]
    return np.ascontiguousarray((rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / np.float32(16))


def check_frames(frames: Sequence[Frame]) -> None:
    """Refuse frames of different sizes, or too few of them.

    Raises:
        ValueError: as said.
    """
    if len(frames) < 3:
        raise ValueError(
            f"{len(frames)} frame{'' if len(frames) == 1 else 's'}, expected at least 3 to find a "
            "camera's motion; give a longer video."
        )
    for frame in frames:
        if frame.size != frames[0].size:
            raise ValueError(
                f"{frame.name} is {frame.size[0]}x{frame.size[1]} (h x w) but {frames[0].name} is "
                f"{frames[0].size[0]}x{frames[0].size[1]}; give frames of one size."
            )
