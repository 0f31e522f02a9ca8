"""The sRGB transfer curve: the border between files or displays and linear light."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor


def linear_from_srgb(srgb: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Decode sRGB values to linear light.

    Args:
        srgb: encoded values; [0, 1] is the display range, other values follow the same curve
            (mirrored below zero) so that unclamped renders survive a round trip.

    Returns:
        Linear values, 1 maps to 1.

    Gradients:
        Reach ``srgb``; finite everywhere, zero included.

    Source:
        IEC 61966-2-1:1999.
    """
    magnitude = srgb.abs()
    curved = ((magnitude.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(magnitude <= 0.04045, srgb / 12.92, torch.sign(srgb) * curved)


def srgb_from_linear(linear: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Encode linear light as sRGB.

    Args:
        linear: linear values; [0, 1] is the display range, nothing is clamped.

    Returns:
        Encoded values, 1 maps to 1.

    Gradients:
        Reach ``linear``; finite everywhere, zero included (the curve starts as a straight line).

    Source:
        IEC 61966-2-1:1999.
    """
    magnitude = linear.abs()
    # The clamp keeps the power's infinite slope at zero out of the branch torch.where discards.
    curved = 1.055 * magnitude.clamp_min(0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(magnitude <= 0.0031308, linear * 12.92, torch.sign(linear) * curved)


def srgb_bytes_from_linear(linear: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """What an 8-bit sRGB picture holds of linear light; what is beyond [0, 1] is clamped.

    Gradients:
        None: bytes have none.
    """
    return bytes_from_unit(srgb_from_linear(linear.detach()))


def bytes_from_unit(values: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """The nearest of 256 levels from 0 to 1; what is beyond is clamped.

    Gradients:
        None: bytes have none.
    """
    return (values.detach().clamp(0, 1) * 255).round().byte()
