"""Which photographs share a lens, and what is known of it beforehand."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from invgraph.data.frame import Frame
from invgraph.files.opening import open_image
from invgraph.fitting.cameras.colmap_engine import load_engine
from invgraph.geometry import convert
from invgraph.geometry.lens import Lens

LONGEST_SIDE = 2000  # of the images in which features are found, pixels
_USUAL_FOCAL = 1.2  # of the longer side
_EXIF = 0x8769
_FOCAL_35MM, _FOCAL_MM = 0xA405, 0x920A
_PLANE_X, _PLANE_UNIT, _PIXELS_X = 0xA20E, 0xA210, 0xA002
_UNIT_MM = {2: 25.4, 3: 10.0, 4: 1.0}
_DIAGONAL_35MM = math.hypot(36.0, 24.0)


@dataclass(frozen=True)
class LensGroup:
    """What is known beforehand about the lens of several photographs.

    Args:
        size: (height, width) of the photographs.
        focal: pixels of the photographs, from their EXIF; None if unknown.
        given: calibrated, which stays as it is; None if unknown.
    """

    size: tuple[int, int]
    focal: float | None = None
    given: Lens | None = None

    @property
    def scale(self) -> float:
        """Pixels of the feature images per pixel of the photographs; at most 1."""
        return min(1.0, LONGEST_SIDE / max(self.size))

    @property
    def feature_size(self) -> tuple[int, int]:
        """(height, width) of the images in which features are found."""
        return round(self.size[0] * self.scale), round(self.size[1] * self.scale)

    def start(self) -> Any:
        """The engine's camera to start from, in pixels of the feature images."""
        engine = load_engine()
        height, width = self.feature_size
        if self.given is not None:
            model, params = convert.lens_to_colmap(self.given.to(torch.float64))
            values = params.clone()
            values[:4] *= self.scale
            return engine.Camera(
                model=model,
                width=width,
                height=height,
                params=values.tolist(),
                has_prior_focal_length=True,
            )
        focal = self.focal if self.focal is not None else _USUAL_FOCAL * max(self.size)
        return engine.Camera(
            model="SIMPLE_RADIAL",
            width=width,
            height=height,
            params=[
                focal * self.scale,
                self.size[1] / 2 * self.scale,
                self.size[0] / 2 * self.scale,
                0.0,
            ],
            has_prior_focal_length=self.focal is not None,
        )


def group_lenses(frames: Sequence[Frame]) -> tuple[list[LensGroup], list[int]]:
    """The lenses of a capture, and the index of each frame's.

    Photos of one size, one EXIF focal length and one calibration share a lens.
    """
    lenses: list[LensGroup] = []
    places: dict[tuple, int] = {}
    indices = []
    for frame in frames:
        lens = LensGroup(frame.size, None, frame.lens)
        if frame.lens is None:
            lens = LensGroup(frame.size, exif_focal(frame.image_path, frame.size))
        given = None if lens.given is None else str(lens.given.facts)
        key = (lens.size, None if lens.focal is None else round(lens.focal), given)
        if key not in places:
            places[key] = len(lenses)
            lenses.append(lens)
        indices.append(places[key])
    return lenses, indices


def exif_focal(path: Path, size: tuple[int, int]) -> float | None:
    """Focal length in pixels as the photograph's EXIF states it; None if it does not.

    Args:
        path: a photograph.
        size: its (height, width).

    Source:
        EXIF 2.32: the 35 mm equivalent keeps the angle of the diagonal; otherwise the focal length
        in mm times the sensor's pixels per mm.
    """
    try:
        with open_image(path) as image:
            if image.format == "PNG" and "exif" not in image.info:
                return None
            tags = image.getexif().get_ifd(_EXIF)
            equivalent = float(tags.get(_FOCAL_35MM, 0))
            if equivalent > 0:
                return _plausible(equivalent / _DIAGONAL_35MM * math.hypot(*size), size)
            millimetres = float(tags.get(_FOCAL_MM, 0))
            per_mm = float(tags.get(_PLANE_X, 0)) / _UNIT_MM[int(tags.get(_PLANE_UNIT, 2))]
            resampled = max(size) / float(tags.get(_PIXELS_X, max(size)))
            return _plausible(millimetres * per_mm * min(resampled, 1.0), size)
    except Exception:  # EXIF is a hint; Pillow raises whatever its parsing trips over
        return None


def _plausible(focal: float, size: tuple[int, int]) -> float | None:
    return focal if math.isfinite(focal) and 0.2 < focal / max(size) < 20 else None
