"""Depth for every photo of a place."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.camera import Camera
from invgraph.color import srgb_from_linear
from invgraph.places.agreement import agreement, fill
from invgraph.places.descent import refine
from invgraph.places.sweep import Photo, match, spaced
from invgraph.places.views import View, choose, neighbours, search_range

_COARSE_SIZE = 200  # longer side of the images on which ranges of depth are found
_COARSE_PLANES, _PLANES = 128, 256  # at most
_MARGIN = 0.15  # of the range found
_QUANTILES = (0.005, 0.5, 0.995)
_AGREED = 0.02  # share of a coarse image whose depth has to be agreed on
_TOLERANCE_PX = 1.0
_MEDIAN = 5  # side of the filter that takes the steps out of the sweep's result
_FEWEST_POINTS = 20


@dataclass(frozen=True, eq=False)
class DepthMap:
    """Depth of one photo.

    Attributes:
        depth: along the optical axis; every pixel has one.
        confidence: share of the photos asked that confirm the depth; 0 where it was filled from
            its surroundings.
        camera: the photo's camera, at the resolution of ``depth``.
    """

    depth: Float[Tensor, "h w"]
    confidence: Float[Tensor, "h w"]
    camera: Camera


def estimate_depth(
    images: Sequence[Tensor],
    cameras: Sequence[Camera],
    *,
    points: Float[Tensor, "n 3"] | None = None,
    sources: int = 4,
    size: int = 800,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[DepthMap]:
    """Depth of every photo of a still place, from the photos and their cameras alone.

    Depth starts from a plane sweep, is checked against the depth of other photos, filled from
    behind where nothing confirms it, and descends on how well the other photos, warped by it,
    look like the photo.

    Args:
        images: linear RGB, one per camera, fetched when needed; a rectified stereo pair is the
            case of two.
        cameras: pinhole cameras without distortion or batch axes.
        points: sparse points on surfaces, world frame, from structure from motion; they bound the
            depths to try. Without them a coarse sweep does.
        sources: how many other photos each photo is compared with.
        size: photos with a longer side are averaged down by a whole factor until they fit.
        progress: called with the stage's name, photos done and photos in all.

    Returns:
        One map per photo.

    Raises:
        ValueError: fewer than two photos, cameras that do not fit the images, are not finite or
            have distortion, or photos that show nothing in common.

    Source:
        The stages cite theirs; the order is that of Goesele et al., Multi-view stereo for
        community photo collections (2007): choose views, match, keep what agrees.
    """
    photos = _photos(images, cameras, size)
    report = progress or (lambda stage, done, total: None)
    views = [photo.view for photo in photos]
    count = len(photos)
    limits = _ranges(photos, points, report)
    asked, maps, pixels = [], [], []
    for index, photo in enumerate(photos):
        asked.append(choose(index, views, limits[index], sources))
        if not asked[index]:
            raise ValueError(_alone(index))
        others = [photos[other] for other in asked[index]]
        low, _, high = limits[index]
        planes = spaced(low, high, photo.view, [other.view for other in others], _PLANES)
        maps.append(match(photo, others, planes)[0])
        pixels.append(float(planes[1] - planes[0]))
        report("match", index + 1, count)
    maps = _descend(photos, maps, asked, pixels, report)
    found = []
    for index, photo in enumerate(photos):
        votes, _ = agreement(index, photos, maps, asked[index], _TOLERANCE_PX)
        camera = _shrunk(cameras[index], photo)
        depth = 1 / np.maximum(maps[index], 1e-3 * limits[index][1])
        confidence = votes.astype(np.float32) / len(asked[index])
        found.append(
            DepthMap(
                torch.from_numpy(depth.astype(np.float32)), torch.from_numpy(confidence), camera
            )
        )
    return found


def _descend(
    photos: list[Photo],
    maps: list[np.ndarray],
    asked: list[list[int]],
    pixels: list[float],
    report: Callable[[str, int, int], None],
) -> list[np.ndarray]:
    """Fill what nothing confirms, then refine."""
    from scipy.ndimage import median_filter

    refined = []
    for index, photo in enumerate(photos):
        votes, _ = agreement(index, photos, maps, asked[index], _TOLERANCE_PX)
        confirmed = votes >= min(2, len(asked[index]))
        others = [photos[other] for other in asked[index]]
        filled = fill(maps[index], confirmed, photo, others[0])
        smooth = median_filter(filled, _MEDIAN)
        refined.append(refine(smooth, confirmed, photo, others, pixels[index]))
        report("descend", index + 1, len(photos))
    return refined


def _ranges(
    photos: list[Photo], points: Tensor | None, report: Callable[[str, int, int], None]
) -> list[np.ndarray]:
    """Lowest, median and highest inverse depth of each photo."""
    if points is not None:
        return [_range_of_points(index, photo, points) for index, photo in enumerate(photos)]
    small = [photo.shrink(_COARSE_SIZE) for photo in photos]
    views = [photo.view for photo in small]
    asked, maps, steps = [], [], []
    for index, photo in enumerate(small):
        asked.append(neighbours(index, views))
        others = [views[other] for other in asked[index]]
        limits = search_range(photo.view, others) if others else None
        if limits is None:
            raise ValueError(_alone(index))
        planes = spaced(*limits, photo.view, others, _COARSE_PLANES)
        maps.append(match(photo, [small[other] for other in asked[index]], planes)[0])
        steps.append(planes[1] - planes[0])
        report("range", index + 1, len(small))
    found = []
    for index, here in enumerate(maps):
        votes, _ = agreement(index, small, maps, asked[index], _TOLERANCE_PX)
        agreed = here[votes >= min(2, len(asked[index]))]
        if agreed.size < _AGREED * here.size:
            raise ValueError(
                f"photo {index} does not match the others: they agree with the depth of "
                f"{agreed.size} of {here.size} pixels; check its camera or leave it out."
            )
        found.append(_widened(agreed, steps[index]))
    return found


def _range_of_points(index: int, photo: Photo, points: Tensor) -> np.ndarray:
    view = photo.view
    seen = points.detach().cpu().double().numpy() @ view.rotation.T + view.translation
    seen = seen[seen[:, 2] > 0]
    pixels = seen @ view.matrix.T
    pixels = pixels[:, :2] / pixels[:, 2:]
    inside = ((pixels > 0) & (pixels < [view.width, view.height])).all(1)
    if inside.sum() < _FEWEST_POINTS:
        raise ValueError(
            f"photo {index} shows {inside.sum()} of the points, fewer than {_FEWEST_POINTS}; "
            "leave points out to have the range of depths searched."
        )
    return _widened(1 / seen[inside, 2], 0.0)


def _widened(inverse_depths: np.ndarray, step: float) -> np.ndarray:
    low, middle, high = np.quantile(inverse_depths, _QUANTILES)
    margin = max(_MARGIN * (high - low), step, 0.02 * middle)
    return np.array([max(low - margin, 0.0), middle, high + margin])


def _photos(images: Sequence[Tensor], cameras: Sequence[Camera], size: int) -> list[Photo]:
    if len(images) != len(cameras):
        raise ValueError(
            f"there are {len(images)} images for {len(cameras)} cameras; give one camera per image."
        )
    if len(images) < 2:
        raise ValueError(f"depth needs at least 2 photos from different places, got {len(images)}.")
    photos = []
    for index, camera in enumerate(cameras):
        image = images[index]
        if tuple(image.shape) != (camera.height, camera.width, 3):
            raise ValueError(
                f"image {index} has shape {tuple(image.shape)} but its camera is "
                f"{camera.height}x{camera.width} (h x w); resize one of them first."
            )
        if camera.batch_shape:
            raise ValueError(f"camera {index} has batch axes; give one camera per image.")
        if camera.distortion is not None and bool((camera.distortion != 0).any()):
            raise ValueError(f"camera {index} has lens distortion; undistort its photo first.")
        tensors = (camera.camera_from_world, camera.focal, camera.principal)
        if not all(bool(tensor.isfinite().all()) for tensor in tensors):
            raise ValueError(f"camera {index} is not finite; leave its photo out.")
        color = srgb_from_linear(image.detach().float().cpu()).clamp(0, 1).numpy()
        photos.append(Photo.of(color, View.of(camera)).shrink(size))
    return photos


def _shrunk(camera: Camera, photo: Photo) -> Camera:
    """The camera of a photo that was averaged down."""
    height, width = photo.grey.shape
    step = round(float(camera.focal[0]) / float(photo.view.focal[0]))
    return replace(
        camera,
        focal=camera.focal / step,
        principal=camera.principal / step,
        height=height,
        width=width,
    )


def _alone(index: int) -> str:
    return f"photo {index} shows nothing that another photo shows; leave it out."
