"""Depth for every photo of a place."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.fitting.place.agreement import agreement, fill
from invgraph.fitting.place.depth_refinement import refine
from invgraph.fitting.place.images import PosedImages
from invgraph.fitting.place.maps import Maps
from invgraph.fitting.place.sweep import PosedImage, match, spaced
from invgraph.fitting.place.views import (
    choose,
    matrix,
    neighbours,
    rotation,
    search_range,
    translation,
)
from invgraph.geometry.camera import Camera
from invgraph.runs.progress import Progress

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
    keep: Path | None = None,
    progress: Progress | None = None,
) -> Sequence[DepthMap]:
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
        keep: folder for finished maps; a later call with the same cameras goes on from there, and
            the maps are read from it when asked for instead of being held in memory.
        progress: hears the stages.

    Returns:
        One map per photo.

    Raises:
        ValueError: fewer than two photos, cameras that do not fit the images, are not finite or
            have distortion, or photos that show nothing in common.

    Source:
        The stages cite theirs; the order is that of Goesele et al., Multi-view stereo for
        community photo collections (2007): choose views, match, keep what agrees.
    """
    progress = progress or Progress()
    photos = PosedImages(images, cameras, size)
    views, count = photos.views, len(photos)
    folder = None if keep is None else keep / _key(photos, points, sources)
    limits, matched, refined, votes = (
        Maps(folder, stage) for stage in ("range", "match", "depth", "votes")
    )
    progress.stage("range of depths", 0.15)
    if any(index not in limits for index in range(count)):
        for index, found in enumerate(
            _ranges(photos, PosedImages(images, cameras, _COARSE_SIZE), points, progress)
        ):
            limits[index] = found
    asked = []
    for index in range(count):
        asked.append(choose(index, views, limits[index], sources))
        if not asked[index]:
            raise ValueError(_alone(index))
    planes = []
    progress.stage("matching photos", 0.4)
    for index, others in enumerate(asked):
        low, _, high = limits[index]
        planes.append(spaced(low, high, views[index], [views[other] for other in others], _PLANES))
        if index not in matched:
            nearby = [photos[other] for other in others]
            matched[index] = match(photos[index], nearby, planes[index])
        progress.update((index + 1) / count, f"{index + 1} of {count} photos")
    progress.stage("refining depth", 0.95)
    for index, others in enumerate(asked):
        if index not in refined:
            pixel = float(planes[index][1] - planes[index][0])
            nearby = [photos[other] for other in others]
            refined[index] = _descend(index, photos[index], nearby, views, matched, others, pixel)
        progress.update((index + 1) / count, f"{index + 1} of {count} photos")
    progress.stage("checking depth")
    for index, others in enumerate(asked):
        if index not in votes:
            votes[index] = agreement(index, views, refined, others, _TOLERANCE_PX)
        progress.update((index + 1) / count, f"{index + 1} of {count} photos")
    found = _Found(photos.cameras, [len(others) for others in asked], limits, refined, votes)
    return found if folder is not None else list(found)


class _Found(Sequence[DepthMap]):
    """Depth maps put together when they are asked for."""

    def __init__(
        self, cameras: list[Camera], asked: list[int], limits: Maps, refined: Maps, votes: Maps
    ) -> None:
        self._cameras, self._asked = cameras, asked
        self._limits, self._refined, self._votes = limits, refined, votes

    def __len__(self) -> int:
        return len(self._cameras)

    def __getitem__(self, index: int) -> DepthMap:  # type: ignore[override]
        if not 0 <= index < len(self):
            raise IndexError(index)
        depth = 1 / np.maximum(self._refined[index], 1e-3 * self._limits[index][1])
        confidence = self._votes[index].astype(np.float32) / self._asked[index]
        return DepthMap(
            torch.from_numpy(depth.astype(np.float32)),
            torch.from_numpy(confidence),
            self._cameras[index],
        )


def _key(photos: PosedImages, points: Tensor | None, sources: int) -> str:
    """Changes when kept maps no longer fit."""
    digest = hashlib.sha256(str((sources, points is None)).encode())
    for camera in photos.cameras:
        for tensor in (camera.camera_from_world, camera.focal, camera.principal):
            digest.update(tensor.detach().cpu().double().numpy().tobytes())
        digest.update(str((camera.height, camera.width)).encode())
    return digest.hexdigest()[:16]


def _descend(
    index: int,
    photo: PosedImage,
    nearby: list[PosedImage],
    views: list[Camera],
    matched: Maps,
    asked: list[int],
    pixel: float,
) -> np.ndarray:
    """Fill what nothing confirms, then refine."""
    from scipy.ndimage import median_filter

    votes = agreement(index, views, matched, asked, _TOLERANCE_PX)
    confirmed = votes >= min(2, len(asked))
    filled = fill(matched[index], confirmed, photo, nearby[0])
    return refine(median_filter(filled, _MEDIAN), confirmed, photo, nearby, pixel)


def _ranges(
    photos: PosedImages,
    small: PosedImages,
    points: Tensor | None,
    progress: Progress,
) -> Iterator[np.ndarray]:
    """Lowest, median and highest inverse depth of each photo."""
    if points is not None:
        for index, view in enumerate(photos.views):
            yield _range_of_points(index, view, points)
        return
    views = small.views
    asked, maps, steps = [], [], []
    for index in range(len(small)):
        asked.append(neighbours(index, views))
        others = [views[other] for other in asked[index]]
        limits = search_range(views[index], others) if others else None
        if limits is None:
            raise ValueError(_alone(index))
        planes = spaced(*limits, views[index], others, _COARSE_PLANES)
        maps.append(match(small[index], [small[other] for other in asked[index]], planes))
        steps.append(planes[1] - planes[0])
        progress.update((index + 1) / len(small), f"{index + 1} of {len(small)} photos")
    for index, here in enumerate(maps):
        votes = agreement(index, views, maps, asked[index], _TOLERANCE_PX)
        agreed = here[votes >= min(2, len(asked[index]))]
        if agreed.size < _AGREED * here.size:
            raise ValueError(
                f"photo {index} does not match the others: they agree with the depth of "
                f"{agreed.size} of {here.size} pixels; check its camera or leave it out."
            )
        yield _widened(agreed, steps[index])


def _range_of_points(index: int, view: Camera, points: Tensor) -> np.ndarray:
    seen = points.detach().cpu().double().numpy() @ rotation(view).T + translation(view)
    seen = seen[seen[:, 2] > 0]
    pixels = seen @ matrix(view).T
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


def _alone(index: int) -> str:
    return f"photo {index} shows nothing that another photo shows; leave it out."
