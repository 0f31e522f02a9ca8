"""Depth maps as 16-bit PNG files that know their step."""

import io
import math
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import Tensor

from invgraph.files.opening import TROUBLE, open_image

STEP = "world_units_per_level"
_LEVELS = 65535


def encode_depth(depth: Float[Tensor, "h w"], step: float | None = None) -> bytes:
    """A PNG whose levels times its text chunk ``world_units_per_level`` are the depth.

    Args:
        depth: along the optical axis, world units; 0 where there is none.
        step: world units per level; the finest that holds all of ``depth`` when left out, else what
            is deeper than 65534 levels counts as none.
    """
    from PIL import Image, PngImagePlugin

    values = depth.detach().double().cpu().numpy()
    if step is None:
        step = max(float(values.max(initial=0.0)), 1e-30) / _LEVELS
    else:
        # 65535 is what many programs take for "not measured".
        values = np.where(values < step * (_LEVELS - 0.5), values, 0)
    notes = PngImagePlugin.PngInfo()
    notes.add_text(STEP, repr(step))
    file = io.BytesIO()
    # A surface however near the camera is not "none".
    levels = np.where(values > 0, np.clip(np.round(values / step), 1, _LEVELS), 0)
    Image.fromarray(levels.astype(np.uint16)).save(file, "PNG", pnginfo=notes)
    return file.getvalue()


def read_depth(path: str | Path) -> tuple[np.ndarray, float]:
    """The levels (``h w``, 0 where there is no depth) and world units per level.

    Raises:
        ValueError: the file is not what :func:`encode_depth` writes.
    """
    path = Path(path)
    try:
        with open_image(path) as image:
            if image.format != "PNG" or image.mode != "I;16":
                raise ValueError("not a 16-bit grey PNG")
            levels = np.asarray(image).astype(np.uint16)
            step = float(image.info[STEP])
        if not (math.isfinite(step) and step > 0):
            raise ValueError(f"its step is {step}")
    except TROUBLE as error:
        raise ValueError(
            f"{path} is no depth map of ours ({error}); expected a 16-bit PNG with {STEP}."
        ) from error
    return levels, step
