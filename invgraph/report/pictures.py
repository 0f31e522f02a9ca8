"""Pictures of a run as JPEG data URIs, within a budget of bytes."""

import base64
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from invgraph.files.pictures import encode_jpeg

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 64_000_000
# (longest side in pixels, JPEG quality), tried in this order until the budget is met.
LEVELS = ((1024, 90), (800, 86), (640, 82), (480, 78), (320, 70))


def data_uris(files: Sequence[Path], budget: int) -> list[str | None]:
    """Encode pictures at the best common quality that fits.

    Args:
        files: PNG or JPEG files; one that cannot be decoded gives None.
        budget: bytes that all data URIs together should stay under; the last level is used even
            when it does not.
    """
    encoded: list[str | None] = []
    for side, quality in LEVELS:
        encoded = [_data_uri(file, side, quality) for file in files]
        if sum(len(uri or "") for uri in encoded) <= budget:
            break
    return encoded


def _data_uri(file: Path, side: int, quality: int) -> str | None:
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(file, formats=("PNG", "JPEG")) as image:
                if image.width * image.height > MAX_PIXELS:
                    return None
                image = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    data = encode_jpeg(np.asarray(reduced(image, side)), quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


def reduced(image: "Image", side: int) -> "Image":
    """The picture with at most ``side`` pixels on its longer side."""
    from PIL import Image

    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return small


def picture_size(uri: str) -> tuple[int, int]:
    """Width and height of a data URI that ``data_uris`` made."""
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as image:
        return image.size
