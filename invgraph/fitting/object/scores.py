"""How well a fitted scene explains photographs, and the pictures that show it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median

import torch
from torch import Tensor

from invgraph.data import Frame
from invgraph.data.depth_files import encode_depth
from invgraph.evaluate.image_metrics import display, psnr, psnr_mask, ssim
from invgraph.evaluate.shape_metrics import mask_iou
from invgraph.geometry.color import linear_from_srgb
from invgraph.rendering.render import render
from invgraph.rendering.result import Render
from invgraph.runs.folder import RunFolder, file_stem
from invgraph.scene import Scene

OUTLIER_RATIO, OUTLIER_IOU = 3.0, 0.03


@dataclass(frozen=True)
class ViewScore:
    """Scores of one photo, at its full size.

    Attributes:
        psnr_mask_db: over the pixels inside the mask, sRGB 8-bit values in [0, 1].
        ssim_mask: structural similarity, its map averaged inside the mask.
        mask_iou: intersection over union of rendered coverage and mask.
        psnr_white_db: over the whole image, both composited on white in sRGB, the convention of
            the NeRF-synthetic scenes.
    """

    name: str
    psnr_mask_db: float
    ssim_mask: float
    mask_iou: float
    psnr_white_db: float


@torch.no_grad()
def score(scene: Scene, frame: Frame) -> tuple[ViewScore, Render, Tensor]:
    """Compare a scene with a photo that has a mask.

    An image with alpha and the render are both laid on black; a photograph is taken as it is, and
    the render has the scene's background, which knows nothing of this photo.

    Returns:
        The scores; the render (colour, alpha, depth); the photo, linear ``h w 3``.
    """
    photo, mask = frame.load()
    assert mask is not None
    seen = render(scene, frame.known_camera, outputs=("color", "alpha", "depth"))
    bare = render(replace(scene, background=None), frame.known_camera, outputs=("color",)).color
    assert seen.color is not None and seen.alpha is not None and bare is not None
    inside = (mask > 0.5).float()
    solid = display(bare / seen.alpha[..., None].clamp_min(1e-3))
    white = _over_white(solid, seen.alpha), _over_white(display(photo), mask)
    if frame.mask_source == "alpha":
        photo = photo * mask[..., None]
    ours, theirs = display(seen.color), display(photo)
    scores = ViewScore(
        frame.name,
        psnr_mask(ours, theirs, inside),
        ssim(ours * inside[..., None], theirs * inside[..., None], inside),
        mask_iou(seen.alpha, mask),
        psnr(*white),
    )
    return scores, seen, photo


def _over_white(color: Tensor, alpha: Tensor) -> Tensor:
    return color * alpha[..., None] + (1 - alpha[..., None])


@torch.no_grad()
def score_all(
    scene_at: Callable[[int], Scene], frames: Sequence[tuple[int, Frame]], folder: RunFolder
) -> list[ViewScore]:
    """Score photos and leave photo, render, difference and depth of each in ``renders/``.

    Args:
        scene_at: maps a photo's place in the capture to the scene to compare it with.
        frames: the photos and their places.
    """
    scores = []
    for index, frame in frames:
        view, seen, photo = score(scene_at(index), frame)
        assert seen.color is not None and seen.depth is not None
        stem = f"renders/{file_stem(index, frame.name)}"
        mask = frame.load_mask()
        assert mask is not None
        gap = (display(seen.color) - display(photo)).abs() * mask[..., None]
        folder.picture(f"{stem}_photo.png", photo)
        folder.picture(f"{stem}_render.png", seen.color)
        folder.picture(f"{stem}_difference.png", linear_from_srgb((3 * gap).clamp(0, 1)))
        folder.write(f"{stem}_depth.png", encode_depth(seen.depth))
        scores.append(view)
    return scores


def inliers(views: Sequence[ViewScore]) -> list[ViewScore]:
    """Views whose masks do not disagree with the fit far more than most do.

    A mask is an outlier when it misses ``OUTLIER_RATIO`` times the median's share of pixels, and at
    least ``OUTLIER_IOU`` more.
    """
    usual = 1 - median(view.mask_iou for view in views)
    limit = max(OUTLIER_RATIO * usual, usual + OUTLIER_IOU)
    return [view for view in views if 1 - view.mask_iou <= limit]


def mean_scores(views: Sequence[ViewScore]) -> dict[str, float]:
    """Means over photos of every score that is finite."""
    names = ("psnr_mask_db", "ssim_mask", "mask_iou", "psnr_white_db")
    columns = {name: [getattr(view, name) for view in views] for name in names}
    columns = {name: [x for x in column if math.isfinite(x)] for name, column in columns.items()}
    return {name: sum(column) / len(column) for name, column in columns.items() if column}
