"""Training views: windows of the photographs around the object, at one scale."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d, pad

from invgraph.data import Frame
from invgraph.geometry.camera import Camera, stack
from invgraph.geometry.color import (
    bytes_from_unit,
    linear_from_srgb,
    srgb_bytes_from_linear,
)
from invgraph.geometry.mesh import Mesh
from invgraph.raster import rasterize

MARGIN = 0.06  # of the window on every side of the object
THICK = 0.02  # of a silhouette's side
RIM_PX = (2, 8)  # the surroundings begin and end so far outside the mask


@dataclass(frozen=True)
class Batch:
    """Some windows of equal size.

    Attributes:
        color: the photographs, sRGB in [0, 1].
        mask: 1 on the object.
        known: 0 at outliers, and where the window reaches over the photograph's border.
        camera: of the windows.
    """

    color: Float[Tensor, "b h w 3"]
    mask: Float[Tensor, "b h w"]
    known: Float[Tensor, "b h w"]
    camera: Camera


@dataclass(frozen=True)
class TrainingView:
    """A training photograph, decoded, as bytes.

    Attributes:
        color: sRGB.
        mask: 255 on the object.
        known: 255 where colour and mask count, 0 at outliers.
        camera: that took it.
    """

    color: UInt8[Tensor, "h w 3"]
    mask: UInt8[Tensor, "h w"]
    known: UInt8[Tensor, "h w"]
    camera: Camera


def load_view(frame: Frame) -> TrainingView:
    """Decode a photograph that has a mask; an image with alpha is laid on black.

    Raises:
        ValueError: it cannot be read or has no mask.
    """
    image, mask = frame.load()
    if mask is None:
        raise ValueError(
            f"{frame.image_path} has no mask but fitting an object needs one per photo; add masks "
            "or an alpha channel."
        )
    if frame.mask_source == "alpha":
        image = image * mask[..., None]
    mask, camera = bytes_from_unit(mask), frame.known_camera
    return TrainingView(srgb_bytes_from_linear(image), mask, torch.full_like(mask, 255), camera)


def surroundings(photos: Sequence[TrainingView]) -> Float[Tensor, "3"]:
    """Mean linear colour of what the photos show just outside the object."""
    total, count = torch.zeros(3, dtype=torch.float64), 0
    for photo in photos:
        outside = (photo.mask < 128).float()[None, None]
        near, far = (1 - _erode(outside, reach)[0, 0] for reach in RIM_PX)
        rim = (far > near) & (photo.mask < 128)
        total += linear_from_srgb(photo.color[rim].double() / 255).sum(0)
        count += int(rim.sum())
    return (total / max(count, 1)).float()


def thick_parts(
    region: Bool[Tensor, "h w"], of: Bool[Tensor, "h w"], growth: int = 1
) -> Bool[Tensor, "h w"]:
    """The parts of a region that inexact cameras cannot explain.

    Args:
        region: where two silhouettes differ.
        of: a silhouette; parts thinner than ``THICK`` of its longer side are left out.
        growth: above 1, the parts grow by half of ``THICK`` for each more.
    """
    rows, columns = torch.nonzero(of, as_tuple=True)
    if not len(rows):
        return torch.zeros_like(region)
    side = max(int(rows.max() - rows.min()), int(columns.max() - columns.min()))
    reach = max(1, round(side * THICK / 2))
    core = _erode(region.float()[None, None], reach)
    return -_erode(-core, reach * growth)[0, 0] > 0.5


def _erode(region: Tensor, reach: int) -> Tensor:
    return -max_pool2d(-region, 2 * reach + 1, 1, reach)


@torch.no_grad()
def without_outliers(photo: TrainingView, shape: Mesh) -> TrainingView:
    """The view, unknown in thick parts where its mask and a shape disagree: something moved."""
    camera, mask = photo.camera, photo.mask > 127
    screen = camera.homogeneous_pixels(shape.vertices)[None]
    covered = rasterize(screen, shape.topology, camera.height, camera.width).face[0] >= 0
    moved = thick_parts(covered != mask, mask, growth=2)
    return replace(photo, known=photo.known.masked_fill(moved, 0))


class TrainingViews:
    """Windows of photos around the object, at one scale.

    Args:
        photos: at full size.
        scale: size relative to theirs, at most 1; colours are averaged over the object alone.
    """

    def __init__(self, photos: Sequence[TrainingView], scale: float) -> None:
        whole = [_shrink(photo, scale) for photo in photos]
        boxes = [_box(photo.mask) for photo in whole]
        self.height = round(max(bottom - top for top, _, bottom, _ in boxes) * (1 + 2 * MARGIN))
        self.width = round(max(right - left for _, left, _, right in boxes) * (1 + 2 * MARGIN))
        self._windows = [self._cut(photo, box) for photo, box in zip(whole, boxes, strict=True)]

    def __len__(self) -> int:
        return len(self._windows)

    def _cut(
        self, photo: TrainingView, box: tuple[int, int, int, int]
    ) -> tuple[UInt8[Tensor, "h w 5"], Camera]:
        camera = photo.camera
        top = (box[0] + box[2] - self.height) // 2
        left = (box[1] + box[3] - self.width) // 2
        layers = torch.cat([photo.color, torch.stack([photo.mask, photo.known], -1)], -1)
        borders = (
            -left,
            left + self.width - camera.width,
            -top,
            top + self.height - camera.height,
        )
        window = pad(layers.movedim(-1, 0), borders).movedim(0, -1).contiguous()
        return window, camera.crop(top, left, self.height, self.width)

    def batch(self, indices: Sequence[int]) -> Batch:
        """The windows of some photos."""
        layers = torch.stack([self._windows[i][0] for i in indices]).float() / 255
        camera = stack([self._windows[i][1] for i in indices])
        return Batch(layers[..., :3], layers[..., 3], layers[..., 4], camera)


def _shrink(photo: TrainingView, scale: float) -> TrainingView:
    if scale >= 1:
        return photo
    camera = photo.camera
    size = (max(1, round(camera.height * scale)), max(1, round(camera.width * scale)))
    mask, known = (layer.float()[..., None] / 255 for layer in (photo.mask, photo.known))
    image = linear_from_srgb(photo.color.float() / 255)
    layers = torch.cat([image * mask, mask, known], -1).movedim(-1, 0)[None]
    layers = interpolate(layers, size=size, mode="area")[0].movedim(0, -1)
    image = layers[..., :3] / layers[..., 3:4].clamp_min(1e-6)
    mask, known = bytes_from_unit(layers[..., 3:]).unbind(-1)
    return TrainingView(srgb_bytes_from_linear(image), mask, known, camera.resize(*size))


def _box(mask: Tensor) -> tuple[int, int, int, int]:
    """Top, left, bottom, right of the pixels that are mostly object."""
    rows, columns = torch.nonzero(mask > 127, as_tuple=True)
    if not len(rows):
        return 0, 0, mask.shape[0], mask.shape[1]
    return int(rows.min()), int(columns.min()), int(rows.max()) + 1, int(columns.max()) + 1
