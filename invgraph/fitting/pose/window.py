"""The image to explain, and the part of it in which an object is."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from invgraph.fitting.pose.colors import CELLS, cells, density
from invgraph.fitting.pose.known_object import KnownObject
from invgraph.geometry import transforms
from invgraph.geometry.camera import Camera
from invgraph.geometry.color import srgb_from_linear
from invgraph.raster import Fragments, rasterize

NEAREST = 0.02  # m: nothing is tracked closer to the camera
BORDERS = (3, 5, 8, 12)  # px over which colours may change at a border, and how much of the change
SHARP = 0.45  # over 16 px has to be seen over so many


@dataclass(frozen=True, eq=False)
class Target:
    """An image to explain.

    Attributes:
        linear: linear RGB.
        camera: its intrinsics; the pose is the identity.
    """

    linear: Float[Tensor, "h w 3"]
    camera: Camera

    @cached_property
    def srgb(self) -> Float[Tensor, "h w 3"]:
        return srgb_from_linear(self.linear.clamp(0, 1))

    @cached_property
    def cell(self) -> Int[Tensor, "h w"]:
        """Of the colour cube, per pixel."""
        return cells(self.srgb)

    @cached_property
    def root(self) -> Float[Tensor, "3 h w"]:
        """Square roots: about even noise over all values."""
        return self.linear.clamp(0, 1).sqrt().permute(2, 0, 1).contiguous()

    @cached_property
    def everywhere(self) -> Float[Tensor, " cells"]:
        """Density of the colours of the whole image."""
        counts = torch.bincount(self.cell.flatten(), minlength=CELLS).float()
        return density(counts[None])[0]

    @cached_property
    def blur(self) -> float:
        """Half the width of the image's sharpest borders, px: 1.5 in sharp images, 6 at most."""
        far = _steepest(self.root, 16)
        enough = (width for width in BORDERS if _steepest(self.root, width) > SHARP * far)
        return 0.5 * next(enough, BORDERS[-1])

    @cached_property
    def bright(self) -> float:
        """Of the brightest parts, square root of linear."""
        return max(float(self.root.amax(0)[::4, ::4].flatten().quantile(0.95)), 0.05)


def _steepest(image: Tensor, width: int) -> float:
    """The largest differences of pixels this far apart: one of 200 is larger."""
    rows, columns = image[:, ::4], image[:, :, ::4]
    across = (rows[:, :, width::2] - rows[:, :, :-width:2]).abs().sum(0).flatten()
    down = (columns[:, width::2] - columns[:, :-width:2]).abs().sum(0).flatten()
    some = torch.cat([across, down])
    return float(some.kthvalue(math.ceil(0.995 * len(some))).values) if len(some) else 0.0


@dataclass(frozen=True, eq=False)
class Window:
    """The part of an image in which an object is, and what its render says there.

    Attributes:
        size: height and width of the image, px.
        left, top: of the window, px.
        camera: of the window.
        seen, pixels: the model's vertices, camera frame, and their images in the window.
        fragments: what the object covers.
    """

    size: tuple[int, int]
    left: int
    top: int
    camera: Camera
    seen: Float[Tensor, "v 3"]
    pixels: Float[Tensor, "v 2"]
    fragments: Fragments

    @property
    def covered(self) -> Bool[Tensor, "h w"]:
        return self.fragments.face[0] >= 0

    def paste(self, mask: Bool[Tensor, "wh ww"]) -> Bool[Tensor, "h w"]:
        """A mask of the window as one of the whole image."""
        whole = torch.zeros(self.size, dtype=torch.bool)
        self.cut(whole[None])[0].copy_(mask)
        return whole

    def cut(self, image: Shaped[Tensor, "c h w"]) -> Shaped[Tensor, "c wh ww"]:
        """An image's part in the window."""
        return image[
            :,
            self.top : self.top + self.camera.height,
            self.left : self.left + self.camera.width,
        ]


def crop_window(
    model: KnownObject, camera: Camera, pose: Float[Tensor, "4 4"], margin: int
) -> Window | None:
    """Render the object where it is in the image; None where it is not in front of the camera."""
    seen = transforms.apply(pose, model.mesh.vertices)
    if not bool(seen.isfinite().all()) or float(seen[:, 2].amin()) < NEAREST:
        return None
    flat = camera.homogeneous_pixels(seen)
    pixels = flat[:, :2] / flat[:, 2:]
    box = box_around(pixels, margin, camera)
    if box is None:
        return None
    left, top, right, bottom = box
    window = camera.crop(top, left, bottom - top, right - left)
    corner = flat.new_tensor([left, top])
    screen = torch.cat([flat[:, :2] - corner * flat[:, 2:], flat[:, 2:]], -1)
    fragments = rasterize(screen[None], model.mesh.topology, window.height, window.width)
    size = (camera.height, camera.width)
    return Window(size, left, top, window, seen, pixels - corner, fragments)


def box_around(pixels: Tensor, margin: int, camera: Camera) -> tuple[int, int, int, int] | None:
    """Left, top, right and bottom around pixels, within the image; None if little is left."""
    low = (pixels.amin(0) - margin).floor().clamp(-1e6, 1e6).long().tolist()
    high = (pixels.amax(0) + margin).ceil().clamp(-1e6, 1e6).long().tolist()
    left, top = max(low[0], 0), max(low[1], 0)
    right, bottom = min(high[0], camera.width), min(high[1], camera.height)
    return (left, top, right, bottom) if min(right - left, bottom - top) >= 8 else None


def check_view(model: KnownObject, camera: Camera, pose: Float[Tensor, "4 4"]) -> None:
    """Refuse a pose from which the object cannot be seen, or not as an object.

    Raises:
        ValueError: behind the camera, out of the image, or of a size that speaks for other units.
    """
    centre = transforms.apply(pose, model.centre[None])[0]
    if not float(centre[2]) > 0:
        raise ValueError(
            f"the initial pose puts {model.name} behind the camera (z = {float(centre[2]):.4g} m; "
            "it should be positive); give camera_from_object with z forward, in metres."
        )
    size = float(camera.focal.mean()) * model.diameter / float(centre[2])
    if size > 10 * max(camera.height, camera.width) or size < 8:
        raise ValueError(
            f"{model.name} is {model.diameter:.4g} m across and would be {size:.4g} px large at "
            f"the initial pose, {float(centre[2]):.4g} m away, in an image of {camera.height}x"
            f"{camera.width} px; if the model is in millimetres, say so: --object-scale 0.001."
        )
    if crop_window(model, camera, pose, 0) is None:
        raise ValueError(
            f"{model.name} is outside the image at the initial pose; give the pose in the first "
            "image as camera_from_object, in metres."
        )
