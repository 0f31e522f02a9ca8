"""Where a captured object is, estimated from cameras and masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from invgraph.data.frame import Frame

_MASK_SIDE = 256  # masks are compared at this size: the box needs no more
_MOST_VIEWS = 48
_GRID = 40
_AGREEMENT = 0.9  # share of the views that must see a point inside the mask: some masks are wrong


@dataclass(frozen=True, eq=False)
class Bounds:
    """A box and a ball around an object, in world units.

    Args:
        lower: smallest coordinates of the box, ``3``.
        upper: largest coordinates of the box, ``3``.
        centre: of the box and the ball, ``3``.
        radius: of the ball around the object (not around the box's corners).
    """

    lower: Tensor
    upper: Tensor
    centre: Tensor
    radius: float


def bounds_from_frames(frames: list[Frame], box: Tensor | None = None) -> Bounds:
    """Find the box around what the masks of most views agree on.

    Args:
        frames: training frames; at most 48 of them, evenly spread, are decoded.
        box: corners ``2 3`` stated by the capture; returned as bounds without decoding anything.

    Raises:
        ValueError: the views agree on no place: the optical axes do not meet, or no point lies
            inside the masks of 90 % of the views.

    Source:
        Laurentini, The visual hull concept (1994), with votes instead of an intersection.
    """
    if box is not None:
        centre = box.mean(0)
        return Bounds(box[0], box[1], centre, float((box[1] - centre).norm()))
    step = max(1, -(-len(frames) // _MOST_VIEWS))
    frames = frames[::step]
    views = [_view(frame) for frame in frames]
    centre = _meeting_point(frames, [view[1] for view in views])
    masks = [view[0] for view in views]
    radii = [_radius(frame, mask, centre) for frame, mask in zip(frames, masks, strict=True)]
    radius = float(torch.quantile(torch.tensor(radii), 0.9)) * 1.2
    known = [mask for mask in masks if mask is not None]
    if len(known) < len(frames):
        ball = torch.full((3,), radius)
        return Bounds(centre - ball, centre + ball, centre, radius)
    lower, upper = centre - radius, centre + radius
    kept = centre[None]
    for _ in range(2):
        spacing = (upper - lower) / _GRID
        kept = _carve(frames, known, lower, upper)
        lower, upper = kept.amin(0) - 1.5 * spacing, kept.amax(0) + 1.5 * spacing
    centre = (lower + upper) / 2
    margin = float((upper - lower).max()) / _GRID
    return Bounds(lower, upper, centre, float((kept - centre).norm(dim=-1).max()) + margin)


def _view(frame: Frame) -> tuple[Tensor | None, Tensor]:
    """The mask at a small size, and the pixel (full size) the object is centred on."""
    mask = frame.load_mask()
    if mask is None:
        return None, frame.known_camera.principal
    rows, columns = torch.nonzero(mask >= 0.5, as_tuple=True)
    target = torch.stack([columns.float().mean() + 0.5, rows.float().mean() + 0.5])
    small = torch.nn.functional.interpolate(mask[None, None], size=_small_size(mask), mode="area")
    return small[0, 0], target


def _small_size(mask: Tensor) -> tuple[int, int]:
    scale = min(1.0, _MASK_SIDE / max(mask.shape))
    return max(1, round(mask.shape[0] * scale)), max(1, round(mask.shape[1] * scale))


def _meeting_point(frames: list[Frame], targets: list[Tensor]) -> Tensor:
    """The point closest to all rays through the targets, reweighted twice against outliers."""
    origins, directions = [], []
    for frame, target in zip(frames, targets, strict=True):
        camera = frame.known_camera
        ray = camera.lens.directions(target[None])[0].double()
        rotation = camera.camera_from_world[:3, :3].double()
        origins.append(-rotation.T @ camera.camera_from_world[:3, 3].double())
        directions.append(torch.nn.functional.normalize(rotation.T @ ray, dim=0))
    origin, direction = torch.stack(origins), torch.stack(directions)
    across = torch.eye(3, dtype=torch.float64) - direction[:, :, None] * direction[:, None, :]
    weight = torch.ones(len(frames), dtype=torch.float64)
    point = origin.mean(0)
    for _ in range(3):
        normal = (weight[:, None, None] * across).sum(0)
        if torch.linalg.eigvalsh(normal)[0] < 1e-4 * weight.sum():
            raise ValueError(
                "the cameras all look the same way, so the object's place is unknown; "
                "photograph the object from several sides."
            )
        right = (weight[:, None] * (across @ origin[:, :, None])[..., 0]).sum(0)
        point = torch.linalg.solve(normal, right)
        miss = (across @ (point - origin)[:, :, None])[..., 0].norm(dim=-1)
        weight = 1 / (miss + miss.median() + 1e-9 * (point - origin).norm(dim=-1).median())
        weight = weight / weight.mean()
    return point.float()


def _radius(frame: Frame, mask: Tensor | None, centre: Tensor) -> float:
    """Half the object's extent as seen by one view, in world units at the centre's depth."""
    camera = frame.known_camera
    pixel, depth = camera.project(centre[None])
    distance = float(depth.reshape(-1)[0])
    if distance <= 0:
        raise ValueError(
            f"{frame.image_path}: the camera looks away from the point the other cameras look at; "
            "check the poses' axes (OpenGL or OpenCV, camera-to-world or its inverse)."
        )
    focal = float(camera.focal.mean())
    if mask is None:
        return distance * min(camera.height, camera.width) / 2 / focal / 1.2
    scale = camera.height / mask.shape[0]
    rows, columns = torch.nonzero(mask >= 0.5, as_tuple=True)
    if len(rows) == 0:
        return 0.0
    spot = torch.stack([columns + 0.5, rows + 0.5], dim=-1) * scale
    return float((spot - pixel.reshape(1, 2)).norm(dim=-1).max()) / focal * distance


def _carve(frames: list[Frame], masks: list[Tensor], lower: Tensor, upper: Tensor) -> Tensor:
    """Centres of the grid cells that most of the views which see them put inside the mask."""
    axes = [
        torch.linspace(0.5 / _GRID, 1 - 0.5 / _GRID, _GRID) * (upper[i] - lower[i]) + lower[i]
        for i in range(3)
    ]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, 3)
    seen = torch.zeros(len(points))
    within = torch.zeros(len(points))
    for frame, mask in zip(frames, masks, strict=True):
        pixels, depth = frame.known_camera.project(points)
        height, width = mask.shape
        column = torch.floor(pixels[..., 0] * (width / frame.known_camera.width))
        row = torch.floor(pixels[..., 1] * (height / frame.known_camera.height))
        visible = (depth > 0) & (row >= 0) & (row < height) & (column >= 0) & (column < width)
        flat = (row * width + column).where(visible, torch.zeros(())).long()
        seen += visible
        within += visible & (mask.reshape(-1)[flat] > 0.25)
    kept = points[(within >= _AGREEMENT * seen) & (seen >= 0.5 * len(frames))]
    if len(kept) == 0:
        raise ValueError(
            "no place is inside the masks of 90 % of the photos; check that masks and poses belong "
            "to the same photos and that white marks the object."
        )
    return kept
