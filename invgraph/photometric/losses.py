"""What is asked of a re-synthesised image or a depth map: one function per loss."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from invgraph.geometry.color import srgb_from_linear

SMALL = 0.06  # sRGB


def photometric(
    color: Float[Tensor, "*batch h w 3"],
    photo: Float[Tensor, "*batch h w 3"],
    weight: Float[Tensor, "*batch h w"],
) -> Float[Tensor, ""]:
    """Mean Huber loss of the difference in sRGB: noise averages out, outliers are forgiven.

    A difference ``d`` costs ``d ** 2 / (2 s)`` up to ``s``, a few times the noise of a camera, and
    ``abs(d) - s / 2`` beyond.

    Args:
        color: rendered, linear; it may leave [0, 1], where the sRGB curve goes on.
        photo: sRGB in [0, 1].
        weight: 0 or more per pixel; a pixel with 0 does not count, whatever it holds.

    Returns:
        The weighted mean over pixels and channels; 0 when no pixel counts.

    Gradients:
        Reach ``color``.

    Source:
        Huber, Robust Estimation of a Location Parameter (1964).
    """
    if color.dtype == torch.float32 and color.device.type == "cpu" and color.numel():
        return _Photometric.apply(color, photo, weight)
    difference = smooth_l1_loss(srgb_from_linear(color), photo, reduction="none", beta=SMALL)
    return (difference.mean(-1) * weight).sum() / _total(weight)


def silhouette(
    alpha: Float[Tensor, "*batch h w"],
    mask: Float[Tensor, "*batch h w"],
    weight: Float[Tensor, "*batch h w"],
) -> Float[Tensor, ""]:
    """Weighted mean of the absolute difference between coverage and mask.

    Args:
        alpha: rendered coverage.
        mask: 1 on the object.
        weight: 0 or more per pixel.

    Gradients:
        Reach ``alpha``.
    """
    return ((alpha - mask).abs() * weight).sum() / _total(weight)


def dissimilarity(
    image: Float[Tensor, "*batch h w c"], other: Float[Tensor, "*batch h w c"], ssim: float = 0.85
) -> Float[Tensor, "*batch h w"]:
    """How different two images look around each pixel, 0 to 1.

    ``ssim * (1 - SSIM) / 2 + (1 - ssim) * L1``, both averaged over channels, SSIM over 3x3 pixels.

    Args:
        image: sRGB in [0, 1].
        other: the same.
        ssim: share of the structural part.

    Gradients:
        Reach both images; the structural part has none where it is beyond 0 or 1.

    Source:
        Godard et al., Unsupervised Monocular Depth Estimation with Left-Right Consistency (2017),
        equation 3.
    """
    absolute = (image - other).abs().mean(-1)
    if ssim == 0:
        return absolute
    from kornia.metrics import ssim as kornia_ssim

    planes = [x.movedim(-1, -3).reshape(-1, *x.shape[-1:], *x.shape[-3:-1]) for x in (image, other)]
    alike = kornia_ssim(planes[0], planes[1], window_size=3).mean(1).reshape(absolute.shape)
    return ssim * ((1 - alike) / 2).clamp(0, 1) + (1 - ssim) * absolute


def smoothness(
    values: Float[Tensor, "*batch h w"], image: Float[Tensor, "*batch h w c"]
) -> Float[Tensor, "*batch"]:
    """Mean absolute first difference of a map, less where the image has an edge.

    Args:
        values: such as inverse depth divided by its mean.
        image: sRGB in [0, 1], of the same size.

    Gradients:
        Reach ``values``.

    Source:
        Heise et al., PM-Huber (2013), equation 5, for the weights ``exp(-abs(difference))``.
    """
    total = values.new_zeros(values.shape[:-2])
    for axis in (-1, -2):
        edge = image.detach().diff(dim=axis - 1).abs().mean(-1)
        total = total + (values.diff(dim=axis).abs() * (-edge).exp()).mean((-2, -1))
    return total


def _total(weight: Tensor) -> Tensor:
    return weight.sum().clamp_min(torch.finfo(weight.dtype).tiny)


class _Photometric(torch.autograd.Function):
    """:func:`photometric` for float32 on the CPU, an order of magnitude faster."""

    @staticmethod
    def forward(ctx, color, photo, weight):
        from invgraph.kernels.threads import launch
        from invgraph.photometric import losses_cpu

        width = color.shape[-2]
        arrays = [x.detach().contiguous() for x in (color, photo.to(color), weight.to(color))]
        slope = torch.empty_like(arrays[0])
        colors, photos, slopes = (
            x.reshape(-1, width, 3).numpy() for x in (arrays[0], arrays[1], slope)
        )
        sums = np.zeros((-(-len(colors) // losses_cpu.ROWS), 2))
        weights = arrays[2].reshape(-1, width).numpy()
        launch(losses_cpu.photometric, colors, photos, weights, np.float32(SMALL), slopes, sums)
        difference, total = sums.sum(0)
        ctx.slope, ctx.total = slope, max(float(total), 1e-30)
        return color.new_tensor(difference / ctx.total)

    @staticmethod
    def backward(ctx, *gradients):
        return ctx.slope * (gradients[0] / ctx.total), None, None
