"""How well recovered cameras explain the photographs' features."""

from dataclasses import dataclass
from typing import Any

import numpy as np

_SAMPLE = 4000
_MOST_CENTRES = 12


@dataclass(frozen=True)
class Quality:
    """Figures of a reconstruction.

    Attributes:
        photos: that were given.
        registered: that have a camera now.
        points: sparse points.
        reprojection_px: mean distance between features and reprojected points, pixels of the
            photos.
        track_length: photos that see a point, mean.
        angle_deg: largest angle under which a point is seen from two photos, median of the points.
    """

    photos: int
    registered: int
    points: int
    reprojection_px: float
    track_length: float
    angle_deg: float

    def summary(self) -> str:
        """One line."""
        return (
            f"{self.registered} of {self.photos} photos, {self.points} points, "
            f"{self.reprojection_px:.2f} px"
        )


def measure(model: Any, photos: int, scale: float) -> Quality:
    """Figures of the engine's reconstruction.

    Args:
        model: the reconstruction.
        photos: that were given.
        scale: pixels of the feature images per pixel of the photos.
    """
    return Quality(
        photos,
        model.num_reg_images(),
        model.num_points3D(),
        model.compute_mean_reprojection_error() / scale,
        model.compute_mean_track_length(),
        _angle(model),
    )


def _angle(model: Any) -> float:
    centres = {i: model.image(i).projection_center() for i in model.reg_image_ids()}
    ids = sorted(model.point3D_ids())
    angles = []
    for point_id in ids[:: max(1, len(ids) // _SAMPLE)]:
        point = model.point3D(point_id)
        seers = sorted({element.image_id for element in point.track.elements})
        seers = seers[:: max(1, -(-len(seers) // _MOST_CENTRES))]
        rays = np.stack([centres[i] for i in seers]) - point.xyz
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        angles.append(float(np.degrees(np.arccos(np.clip(rays @ rays.T, -1, 1).min()))))
    return float(np.median(angles)) if angles else 0.0
