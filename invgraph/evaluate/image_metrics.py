"""How far an image is from the true one, by published protocols.

Images are display values, sRGB, rounded to 8 bits, in [0, 1], as ``display`` makes them; albedo
is linear. Two inputs must agree in size; their axes have different names here so that our message
says so.
"""

import math

from jaxtyping import Bool, Float
from torch import Tensor

from invgraph.evaluate.input_checks import check_same
from invgraph.geometry.color import srgb_from_linear


def display(linear: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """What an 8-bit sRGB file would hold, in [0, 1]: the values that image metrics compare.

    Gradients:
        None: rounding has none.
    """
    return (srgb_from_linear(linear.detach()).clamp(0, 1) * 255).round() / 255


def psnr(image: Float[Tensor, "h w c"], reference: Float[Tensor, "rh rw rc"]) -> float:
    """Peak signal-to-noise ratio over the whole image, dB; infinite for equal images.

    Args:
        image: display values in [0, 1].
        reference: the same.

    Raises:
        ValueError: the sizes differ.

    Source:
        Mildenhall et al., NeRF (2020): -10 log10 of the mean squared error of values in [0, 1].
    """
    check_same("image", image, "reference", reference)
    return _decibel((image.double() - reference.double()).square().mean().item())


def psnr_mask(
    image: Float[Tensor, "h w c"],
    reference: Float[Tensor, "rh rw rc"],
    mask: Float[Tensor, "mh mw"],
) -> float:
    """Peak signal-to-noise ratio over the pixels of a mask, dB.

    Args:
        image: display values in [0, 1].
        reference: the same.
        mask: the true mask; pixels of at least 0.5 count.

    Raises:
        ValueError: the sizes differ or the mask is empty.

    Source:
        Boss et al., NeRD (2021): PSNR of held-out photos inside the object's mask.
    """
    check_same("image", image, "reference", reference)
    inside = _inside(mask, image)
    return _decibel((image.double() - reference.double())[inside].square().mean().item())


def ssim(
    image: Float[Tensor, "h w c"],
    reference: Float[Tensor, "rh rw rc"],
    mask: Float[Tensor, "mh mw"] | None = None,
) -> float:
    """Structural similarity, its map averaged over all pixels or those of a mask.

    Args:
        image: display values in [0, 1].
        reference: the same.
        mask: pixels of at least 0.5 count; the window still looks at their neighbours, so set what
            is outside the mask alike in both images.

    Raises:
        ValueError: the sizes differ, an image is smaller than the window, or the mask is empty.

    Source:
        Wang et al., Image Quality Assessment (2004): 11x11 Gaussian window, sigma 1.5.
    """
    from kornia.metrics import ssim as kornia_ssim

    check_same("image", image, "reference", reference)
    if min(image.shape[:2]) < 11:
        raise ValueError(
            f"image is {image.shape[0]}x{image.shape[1]} (h x w) but SSIM's window is 11x11; "
            "use a larger image."
        )
    planes = [picture.movedim(-1, 0)[None].double() for picture in (image, reference)]
    similarity = kornia_ssim(planes[0], planes[1], window_size=11)[0].mean(0)
    if mask is not None:
        similarity = similarity[_inside(mask, image)]
    return similarity.mean().item()


def albedo_rmse(
    albedo: Float[Tensor, "h w 3"],
    reference: Float[Tensor, "rh rw 3"],
    mask: Float[Tensor, "mh mw"],
) -> float:
    """Root mean square error of linear albedo after the best scale of each colour channel.

    Photographs tell albedo times light only, so one factor per channel is free.

    Args:
        albedo: linear.
        reference: linear.
        mask: where both are defined; pixels of at least 0.5 count.

    Raises:
        ValueError: the sizes differ or the mask is empty.

    Source:
        Zhang et al., NeRFactor (2021), section 5: per-channel scales by least squares.
    """
    check_same("albedo", albedo, "reference", reference)
    inside = _inside(mask, albedo)
    estimate, truth = albedo.double()[inside], reference.double()[inside]
    scale = (estimate * truth).sum(0) / (estimate * estimate).sum(0).clamp_min(1e-12)
    return (scale * estimate - truth).square().mean().sqrt().item()


def _decibel(mean_square: float) -> float:
    return math.inf if mean_square == 0 else -10 * math.log10(mean_square)


def _inside(mask: Tensor, image: Tensor) -> Bool[Tensor, "mh mw"]:
    if mask.shape != image.shape[:2]:
        raise ValueError(
            f"mask is {tuple(mask.shape)} (h, w) but the image is {tuple(image.shape[:2])}; "
            "resize one of them first."
        )
    inside = mask >= 0.5
    if not bool(inside.any()):
        raise ValueError("mask has no pixel of at least 0.5, so there is nothing to score.")
    return inside
