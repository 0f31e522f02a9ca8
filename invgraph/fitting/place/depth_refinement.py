"""Depth refined by descent on how well source images re-synthesise the reference image."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, smooth_l1_loss

from invgraph.fitting.place.sweep import PosedImage
from invgraph.fitting.place.views import transfer

STEPS = 40
_RATE_PX = 0.1
_REACH_PX = 1.0
_WINDOW = 5
_FLAT = 4e-4  # variance of sRGB values added to that of a window: noise does not count
_SMOOTH = 0.6
_KINK_PX = 0.1  # second differences above this are edges or corners
_EDGE = 12.0  # how fast smoothness falls with the difference of colours


def refine(
    inverse_depth: np.ndarray,
    seen: np.ndarray,
    photo: PosedImage,
    sources: list[PosedImage],
    pixel: float,
) -> np.ndarray:
    """Move inverse depths until the sources, warped, look like the photo.

    The loss is one minus the correlation of small windows, over the better half of the sources,
    because the others may be occluded; plus second differences of inverse depth, which vanish on
    planes, weighted down across edges of the photo.

    Args:
        inverse_depth: ``h w``.
        seen: ``h w``, weight of the photometric term; 0 where no source shows the surface, so that
            only smoothness acts.
        photo: the reference image.
        sources: the source images.
        pixel: the inverse depth that moves the image by a pixel.

    Source:
        Szeliski & Coughlan, Spline-based image registration (1997), for descending on depth
        through a warp; Woodford et al., Global stereo reconstruction under second-order smoothness
        priors (2009).
    """
    grey = torch.from_numpy(photo.grey)[None, None]
    mean = _pool(grey)
    deviation = grey - mean
    variance = _pool(deviation * deviation)
    color = torch.from_numpy(photo.color)
    edges = [torch.exp(-_EDGE * _steps(color, axis)) for axis in (0, 1)]
    weight = torch.from_numpy(seen.astype(np.float32))
    start = torch.from_numpy(inverse_depth / np.float32(pixel))
    level = start.clone().requires_grad_()
    rays = [_Ray(photo, source, pixel) for source in sources]
    images = [torch.from_numpy(source.grey)[None, None] for source in sources]
    descent = torch.optim.Adam([level], lr=_RATE_PX, betas=(0.9, 0.99))
    for step in range(STEPS):
        descent.param_groups[0]["lr"] = _RATE_PX * (1 - step / STEPS)
        descent.zero_grad()
        losses = []
        for ray, image in zip(rays, images, strict=True):
            grid, inside = ray.grid(level)
            sampled = grid_sample(image, grid, padding_mode="border", align_corners=False)
            other = sampled - _pool(sampled)
            together = _pool(deviation * other)
            spread = _pool(other * other)
            score = together * ((variance + _FLAT) * (spread + _FLAT)).rsqrt()
            losses.append(torch.where(inside, 1 - score[0, 0], 3.0))
        data = _better_half(torch.stack(losses))
        loss = (weight * data).sum() + _SMOOTH * _bending(level, edges)
        loss.backward()
        descent.step()
        # Farther jumps are the sweep's to make: here they would follow repeated patterns.
        with torch.no_grad():
            level.clamp_(start - _REACH_PX, start + _REACH_PX)
    return (level.detach() * pixel).numpy()


class _Ray:
    """Where a source sees the photo's pixels, as a function of inverse depth in pixels."""

    def __init__(self, photo: PosedImage, source: PosedImage, pixel: float) -> None:
        matrix = transfer(photo.view, source.view)
        height, width = photo.grey.shape
        v, u = np.mgrid[:height, :width] + 0.5
        far = matrix[:, 0] * u[..., None] + matrix[:, 1] * v[..., None] + matrix[:, 2]
        shift = matrix[:, 3] * pixel
        # From pixels to the coordinates of grid_sample: -1 to 1 between the image's borders.
        scale = np.array([2 / source.grey.shape[1], 2 / source.grey.shape[0]])
        far[..., :2] = far[..., :2] * scale - far[..., 2:]
        shift[:2] = shift[:2] * scale - shift[2]
        self.far = [torch.from_numpy(part.astype(np.float32)) for part in np.moveaxis(far, -1, 0)]
        self.shift = [float(part) for part in shift]

    def grid(self, level: Tensor) -> tuple[Tensor, Tensor]:
        x, y, z = (far + level * shift for far, shift in zip(self.far, self.shift, strict=True))
        ahead = z > 1e-6
        inverse = torch.where(ahead, z, 1.0).reciprocal()
        grid = torch.stack((x * inverse, y * inverse), -1)
        return grid[None], ahead & (grid.abs() <= 1).all(-1)


def _pool(image: Tensor) -> Tensor:
    return avg_pool2d(image, _WINDOW, 1, _WINDOW // 2, count_include_pad=False)


def _better_half(losses: Float[Tensor, "k h w"]) -> Float[Tensor, "h w"]:
    """Mean loss over the better half of the sources that see a pixel; 0 where none does."""
    known = losses.detach() < 3
    half = (known.sum(0) + 1) // 2
    if len(losses) > 1:
        # Ranks by counting: sorting along a short axis takes longer than everything else.
        fixed = losses.detach()
        better = [sum((other < one).int() for other in fixed) for one in fixed]
        known = known & (torch.stack(better) < half)  # type: ignore[arg-type]
    return (losses * known).sum(0) / half.clamp_min(1)


def _steps(color: Tensor, axis: int) -> Tensor:
    """Largest colour difference between a pixel and its neighbours before and after it."""
    step = color.diff(dim=axis).abs().amax(-1)
    count = step.shape[axis]
    return torch.maximum(step.narrow(axis, 0, count - 1), step.narrow(axis, 1, count - 1))


def _bending(level: Tensor, edges: list[Tensor]) -> Tensor:
    """Robust second differences along both axes."""
    total = level.new_zeros(())
    for axis, weight in enumerate(edges):
        bend = level.diff(2, dim=axis)
        cost = smooth_l1_loss(bend, torch.zeros_like(bend), reduction="none", beta=_KINK_PX)
        total = total + (weight * cost).sum()
    return total
