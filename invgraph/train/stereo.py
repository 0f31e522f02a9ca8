"""What the right photos of stereo pairs say about the unit of depth."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from invgraph.train.clips import Clip
from invgraph.train.supervision import Teaching

_NEAR_ONE = 0.05  # disparity at a depth of one unit, image widths: networks begin at that depth
_FRAMES = 8  # that are compared, at most
_DISPARITIES = (0.002, 0.4)  # at a depth of one unit, image widths
_COARSE, _FINE = 160, 41
_WORST = 0.2  # sRGB: difference of a pixel, at most


def metres_per_unit(clips: Sequence[Clip]) -> float | None:
    """The unit in which depth is learned where motion is, too; None without stereo pairs."""
    for clip in clips:
        if clip.right is not None and clip.lens is not None:
            focal = float(clip.lens.focal[0]) / clip.lens.width
            return focal * clip.right.baseline / _NEAR_ONE
    return None


def in_one_unit(
    clips: Sequence[Clip], teachings: Sequence[Teaching]
) -> tuple[list[Teaching], float | None]:
    """Teachings in the unit of the first with stereo pairs, and that unit in metres.

    Those without pairs stay in units of their own median depth. Without any pairs the unit is None.

    Raises:
        ValueError: no frame with a right photo has depth.
    """
    first, scaled = None, []
    for clip, teaching in zip(clips, teachings, strict=True):
        if clip.right is not None:
            metres = _metres_of(clip, teaching)
            first = first or metres
            teaching = _scaled(teaching, metres / first)
        scaled.append(teaching)
    return scaled, first


def right_from_left(baseline: float) -> Tensor:
    """The motion from a left camera to the right one, in the unit of the baseline."""
    motion = torch.eye(4)
    motion[0, 3] = -baseline
    return motion


def _scaled(teaching: Teaching, factor: float) -> Teaching:
    poses = teaching.poses.clone()
    poses[:, :3, 3] *= factor
    log_depth = np.where(teaching.weight > 0, teaching.log_depth + math.log(factor), 0)
    return replace(teaching, poses=poses, log_depth=log_depth.astype(np.float16))


def _metres_of(clip: Clip, teaching: Teaching) -> float:
    """The unit of a teaching: the one in which right photos show best what left ones do."""
    assert clip.right is not None and clip.lens is not None
    usable = np.flatnonzero(clip.right.there & (teaching.weight > 0).any((1, 2)))
    if not len(usable):
        raise ValueError(
            f"{clip.name}: no frame with a right photo has depth; leave the right photos out, or "
            "let a network learn the motion."
        )
    chosen = usable[:: -(-len(usable) // _FRAMES)]
    height, width = teaching.log_depth.shape[1:]
    left, right = (
        interpolate(
            torch.from_numpy(images[chosen].astype(np.float32) / 255).movedim(-1, 1),
            (height, width),
            mode="area",
        )
        for images in (clip.images, clip.right.images)
    )
    depth = torch.from_numpy(teaching.log_depth[chosen].astype(np.float32)).exp()
    sure = torch.from_numpy(teaching.weight[chosen] > 0)

    def cost(disparity: float) -> float:
        """Mean difference of the photos if depth 1 means this disparity, image widths."""
        shifted = (torch.arange(width) + 0.5) / width - disparity / depth
        rows = ((torch.arange(height) + 0.5) / height)[:, None].expand_as(shifted)
        grid = 2 * torch.stack((shifted, rows), -1) - 1
        seen = grid_sample(right, grid, padding_mode="border", align_corners=False)
        difference = (seen - left).abs().mean(1).clamp(max=_WORST)
        difference = torch.where(shifted >= 0, difference, _WORST)
        return float(difference[sure].mean())

    low, high = (math.log(x) for x in _DISPARITIES)
    step = (high - low) / (_COARSE - 1)
    best = min((low + i * step for i in range(_COARSE)), key=lambda x: cost(math.exp(x)))
    fine = np.linspace(best - step, best + step, _FINE)
    best = min(fine.tolist(), key=lambda x: cost(math.exp(x)))
    focal = float(clip.lens.focal[0]) / clip.lens.width
    return focal * clip.right.baseline / math.exp(best)
