"""A photograph of a capture, with what is known of its camera."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.data.images import (
    decode,
    image_header,
    image_size,
    load_image,
    load_mask,
    mask_dark_background,
    thumbnail,
)
from invgraph.data.text import size_remedy
from invgraph.geometry.camera import Camera
from invgraph.geometry.distortion import Model
from invgraph.geometry.lens import Lens, checked_lens

MaskSource = Literal["file", "alpha", "dark background"]


CAMERAS_REMEDY = (
    "estimate the cameras first, by invgraph.fitting.cameras.recover_cameras or with COLMAP."
)


@dataclass(frozen=True)
class Right:
    """The other photograph of a rectified stereo pair, taken at the same moment.

    Its camera has the same lens, and lies to the right along the rows of pixels.

    Args:
        image_path: the photograph.
        baseline: from the left camera to the right one, metres.
    """

    image_path: Path
    baseline: float


@dataclass(frozen=True, eq=False)
class Frame:
    """One photograph, decoded only when asked for.

    Args:
        name: unique in its capture and safe as part of a file name.
        camera: unbatched. None if unknown.
        image_path: the photograph.
        size: (height, width) of the photograph.
        mask_path: the mask, if it is a file of its own.
        mask_source: where the mask comes from; None if there is none.
        lens: where it is known without a pose. None if unknown or if ``camera`` says it all.
        time: seconds on the recording's own clock; None if unknown.
        right: what the right camera of a pair saw; None if there is none.
        as_stored: whether all of these refer to the pixels as the files store them, since the
            tools of the capture's format ignore the EXIF orientation; else to the upright photo.

    Raises:
        ValueError: ``camera`` or ``lens`` is of another size than the photograph.
    """

    name: str
    camera: Camera | None
    image_path: Path
    size: tuple[int, int]
    mask_path: Path | None = None
    mask_source: MaskSource | None = None
    lens: Lens | None = None
    time: float | None = None
    right: Right | None = None
    as_stored: bool = False

    def __post_init__(self) -> None:
        for camera in (self.camera, self.lens):
            if camera is not None and (camera.height, camera.width) != self.size:
                raise ValueError(_size_message(self.image_path, self.size, _size(camera)))

    @property
    def known_camera(self) -> Camera:
        """The camera.

        Raises:
            ValueError: it is unknown.
        """
        if self.camera is None:
            raise ValueError(f"{self.image_path} has no camera; {CAMERAS_REMEDY}")
        return self.camera

    @property
    def known_lens(self) -> Lens | None:
        """The lens, with or without a pose; None if unknown."""
        return self.lens if self.camera is None else self.camera.lens

    def load(self) -> tuple[Float[Tensor, "h w 3"], Float[Tensor, "h w"] | None]:
        """Decode the photograph (linear straight RGB) and its mask (1 = object).

        Raises:
            ValueError: a file is missing, damaged or of another size than the camera, or the mask
                is empty.
        """
        image, alpha = load_image(self.image_path, as_stored=self.as_stored)
        self._check_size(self.image_path, image.shape[0], image.shape[1])
        if self.mask_source == "alpha":
            return image, self._checked_mask(self.image_path, alpha)
        return image, self.load_mask()

    def load_mask(self) -> Float[Tensor, "h w"] | None:
        """Decode the mask alone (1 = object); None if the frame has none.

        Raises:
            ValueError: as for ``load``.
        """
        if self.mask_source == "file" and self.mask_path is not None:
            mask = load_mask(self.mask_path, as_stored=self.as_stored)
            return self._checked_mask(self.mask_path, mask)
        if self.mask_source == "dark background":
            mask = mask_dark_background(self.image_path, as_stored=self.as_stored)
            return self._checked_mask(self.image_path, mask)
        if self.mask_source == "alpha":
            alpha = load_image(self.image_path, as_stored=self.as_stored)[1]
            return self._checked_mask(self.image_path, alpha)
        return None

    def load_right(self) -> Float[Tensor, "h w 3"]:
        """Decode what the right camera of a pair saw.

        Raises:
            ValueError: there is none, or the file is missing or damaged.
        """
        if self.right is None:
            raise ValueError(f"{self.image_path} has no right photo; give a stereo recording.")
        return load_image(self.right.image_path, as_stored=self.as_stored)[0]

    def levels(self) -> np.ndarray:
        """The photograph's levels as :func:`invgraph.data.images.decode` gives them."""
        return decode(self.image_path, as_stored=self.as_stored)

    def thumbnail(self, side: int) -> np.ndarray:
        """A small picture as :func:`invgraph.data.images.thumbnail` gives it."""
        return thumbnail(self.image_path, side, as_stored=self.as_stored)

    def _checked_mask(self, path: Path, mask: Tensor | None) -> Tensor:
        if mask is None:
            raise ValueError(
                f"{path} lost its alpha channel since the capture was read; read it again."
            )
        self._check_size(path, mask.shape[0], mask.shape[1])
        if not bool((mask >= 0.5).any()):
            raise ValueError(
                f"{path} marks no pixel as object (largest value {mask.max().item():.3f}, expected "
                "1 on the object); redo the mask or remove the photo from the capture."
            )
        return mask

    def _check_size(self, path: Path, height: int, width: int) -> None:
        if (height, width) != self.size:
            raise ValueError(_size_message(path, (height, width), self.size))


def make_lens(
    focal: tuple[float, float],
    principal: tuple[float, float],
    size: tuple[int, int],
    distortion: tuple[float, ...] | None = None,
    model: Model = "brown",
    *,
    where: str = "the lens",
) -> Lens:
    """Build a single-precision lens from float64 numbers that a file holds.

    Args:
        focal: fx, fy, pixels.
        principal: cx, cy, pixels from the corner.
        size: (height, width).
        distortion: coefficients of ``model``; None for a pinhole.
        model: of the distortion.
        where: file and entry, for messages.

    Raises:
        ValueError: as for :func:`invgraph.geometry.lens.checked_lens`.
    """
    lens = Lens(
        torch.tensor(focal, dtype=torch.float64),
        torch.tensor(principal, dtype=torch.float64),
        *size,
        None if distortion is None else torch.tensor(distortion, dtype=torch.float64),
        model,
    )
    return checked_lens(lens, where).to(torch.float32)


def make_camera(camera_from_world: np.ndarray, lens: Lens) -> Camera:
    """Build a single-precision camera from a float64 pose."""
    return Camera(lens, torch.from_numpy(camera_from_world.astype(np.float32)))


def make_frame(
    image_path: Path,
    camera: Camera | None = None,
    *,
    mask_path: Path | None = None,
    lens: Lens | None = None,
    time: float | None = None,
    right: Right | None = None,
    name: str = "",
    as_stored: bool = False,
) -> Frame:
    """Build a frame, checking its files by their headers.

    Args: those of :class:`Frame`.

    Raises:
        UnreadableImage: a file is missing or damaged.
        ValueError: a file is of another size than the camera or the photo.
    """
    size, transparent = image_header(image_path, as_stored=as_stored)
    for known in (camera, lens):
        if known is not None and _size(known) != size:
            raise ValueError(_size_message(image_path, size, _size(known)))
    if mask_path is not None and (found := image_size(mask_path, as_stored=as_stored)) != size:
        raise ValueError(_size_message(mask_path, found, size))
    if right is not None:
        found = image_size(right.image_path, as_stored=as_stored)
        if found != size:
            raise ValueError(_size_message(right.image_path, found, size))
    source: MaskSource | None = "file" if mask_path is not None else None
    if source is None and transparent:
        source = "alpha"
    return Frame(name, camera, image_path, size, mask_path, source, lens, time, right, as_stored)


def _size(camera: Camera | Lens) -> tuple[int, int]:
    return camera.height, camera.width


def _size_message(path: Path, found: tuple[int, int], expected: tuple[int, int]) -> str:
    remedy = size_remedy(found, expected, "resize the file or correct the camera")
    return (
        f"{path} is {found[0]}x{found[1]} (h x w) but its camera is "
        f"{expected[0]}x{expected[1]}; {remedy}."
    )
