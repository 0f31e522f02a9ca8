"""A photo under the outline of the model at its pose, beside what the pose leaves unexplained."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from invgraph.data.object_pose_files import PoseRow
from invgraph.geometry.camera import Camera
from invgraph.geometry.color import srgb_from_linear
from invgraph.rendering.render import render
from invgraph.scene import Scene

SIDE = 640  # of each half, pixels
FOUND, LOST, OTHER = (64, 240, 140), (255, 170, 50), (255, 255, 255)
AXES = ((255, 80, 80), (90, 220, 90), (90, 150, 255))  # x, y, z
DIM, GAIN = 0.35, 3.0
TINT = 0.5  # of pixels that something else covers
AXIS = 0.4  # of the object's size
CAPTION = 16  # pixels


@dataclass(frozen=True, eq=False)
class Overlay:
    """Pictures of one photo with its pose, all ``h w 3`` bytes, sRGB.

    Attributes:
        photo: as it is, at most ``SIDE`` pixels a side.
        render: the model at its pose, drawn into the photo.
        difference: between the two, magnified; the photo is dim where the model is not.
        outlined: the photo with the model's outline, its axes, and score and uncertainty in words.
    """

    photo: np.ndarray
    render: np.ndarray
    difference: np.ndarray
    outlined: np.ndarray

    @property
    def panel(self) -> np.ndarray:
        """The outlined photo beside the difference."""
        return np.concatenate([self.outlined, self.difference], 1)


def draw_overlay(
    photo: np.ndarray,
    scene: Scene,
    camera: Camera,
    row: PoseRow,
    covered: np.ndarray | None = None,
    others: list[tuple[float, np.ndarray]] | None = None,
) -> Overlay:
    """Draw a pose over its photo; nothing is drawn where the object was not found.

    Args:
        photo: ``h w 3`` bytes, sRGB.
        scene: the object, wherever it is, with its colours and light.
        camera: that took the photo, at the world's origin; resized to it.
        row: the pose.
        covered: ``h w`` of any size, true where something else is in front; tinted.
        others: weight and ``camera_from_object`` of further hypotheses; their axes are drawn thin.
    """
    height, width = photo.shape[:2]
    camera = camera.resize(height, width)
    shot, alpha = photo.astype(np.float32) / 255, np.zeros((height, width), np.float32)
    color = shot
    if row.found:
        color, alpha = _rendered(scene, camera, row.pose)
        color = color * alpha[..., None] + shot * (1 - alpha[..., None])
    grey = shot.mean(-1, keepdims=True).repeat(3, -1) * DIM
    inside = alpha[..., None] > 0.5
    gap = np.where(inside, GAIN * np.abs(color - shot), grey)
    if covered is not None:
        rows = np.arange(height) * covered.shape[0] // height
        columns = np.arange(width) * covered.shape[1] // width
        here = covered[rows][:, columns][..., None] & inside
        gap = np.where(here, (1 - TINT) * gap + TINT * np.array(LOST, np.float32) / 255, gap)
    outlined = shot.copy()
    rim = _rim(alpha > 0.5)
    outlined[rim] = np.array(FOUND, np.float32) / 255
    gap[rim] = np.array(FOUND, np.float32) / 255 * 0.6
    marked = _marked(_bytes(outlined), scene, camera, row, others or [])
    return Overlay(photo, _bytes(color), _bytes(gap), marked)


@torch.no_grad()
def _rendered(scene: Scene, camera: Camera, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The object in display colours, and its coverage."""
    placed = torch.from_numpy(pose).to(scene.objects[0].mesh.vertices.dtype)
    moved = replace(scene, objects=(replace(scene.objects[0], world_from_object=placed),))
    seen = render(replace(moved, background=None), camera, outputs=("color", "alpha"))
    assert seen.color is not None and seen.alpha is not None
    straight = seen.color / seen.alpha[..., None].clamp_min(1e-3)
    return srgb_from_linear(straight.clamp(0, 1)).numpy(), seen.alpha.clamp(0, 1).numpy()


def _rim(mask: np.ndarray) -> np.ndarray:
    """Pixels on either side of a mask's border."""
    from scipy import ndimage

    grown = ndimage.binary_dilation(mask)
    return np.logical_and(grown, np.logical_not(ndimage.binary_erosion(mask, border_value=1)))


def _marked(
    picture: np.ndarray,
    scene: Scene,
    camera: Camera,
    row: PoseRow,
    others: list[tuple[float, np.ndarray]],
) -> np.ndarray:
    """The picture with axes and a caption."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    if row.found:
        vertices = scene.objects[0].mesh.vertices
        reach = AXIS * float((vertices.amax(0) - vertices.amin(0)).norm())
        for _, pose in others:
            for start, end in _axes(camera, pose, reach):
                draw.line([start, end], OTHER, 1)
        for (start, end), color in zip(_axes(camera, row.pose, reach), AXES, strict=False):
            draw.line([start, end], color, 2)
        words = f"score {row.score:.2f}   ± {row.sigma_mm:.1f} mm, {row.sigma_deg:.1f}°"
        if row.hypotheses > 1:
            words += f"   {row.hypotheses} hypotheses"
    else:
        words = f"lost   score {row.score:.2f}"
    font = ImageFont.load_default(CAPTION)
    box = draw.textbbox((8, 6), words, font=font)
    draw.rectangle((0, 0, box[2] + 8, box[3] + 6), fill=(0, 0, 0))
    draw.text((8, 6), words, font=font, fill=FOUND if row.found else LOST)
    return np.asarray(image)


def _axes(
    camera: Camera, pose: np.ndarray, reach: float
) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Ends of the object's axes in pixels; none where they are not in front of the camera."""
    points = np.concatenate([np.zeros((1, 3)), reach * np.eye(3)]) @ pose[:3, :3].T + pose[:3, 3]
    at, depth = camera.project(torch.from_numpy(points).to(camera.focal.dtype))
    if not bool((depth > camera.near).all()):
        return []
    start, *ends = ((float(u), float(v)) for u, v in at)
    return [(start, end) for end in ends]


def _bytes(picture: np.ndarray | Tensor) -> np.ndarray:
    return (np.clip(np.asarray(picture), 0, 1) * 255).round().astype(np.uint8)
