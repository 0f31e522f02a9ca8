"""PixelArray as the bytes of picture files."""

import io

import numpy as np
from jaxtyping import Bool, UInt8, UInt16

PixelArray = (
    UInt8[np.ndarray, "h w *channels"] | UInt16[np.ndarray, "h w"] | Bool[np.ndarray, "h w"]
)


def encode_png(pixels: PixelArray, compress_level: int | None = None) -> bytes:
    """Encode a picture without loss.

    Args:
        pixels: grey (``h w``), colour or colour with alpha; grey of 16 bits and masks of one bit
            keep their depth.
        compress_level: 1 (fast) to 9 (small); zlib's own when left out.
    """
    from PIL import Image

    data = io.BytesIO()
    level = -1 if compress_level is None else compress_level
    Image.fromarray(pixels).save(data, "PNG", compress_level=level)
    return data.getvalue()


def encode_jpeg(
    pixels: UInt8[np.ndarray, "h w *channels"],
    quality: int = 88,
    *,
    optimize: bool = False,
    full_color: bool = False,
) -> bytes:
    """Encode a picture for people to look at.

    Args:
        pixels: grey (``h w``) or colour.
        quality: 1 to 95.
        optimize: take longer for a smaller file.
        full_color: keep the colour of every pixel, not the mean of several.
    """
    from PIL import Image

    data = io.BytesIO()
    subsampling = 0 if full_color else -1
    image = Image.fromarray(pixels)
    image.save(data, "JPEG", quality=quality, optimize=optimize, subsampling=subsampling)
    return data.getvalue()
