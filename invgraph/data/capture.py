"""A capture: photographs of one scene, each with the camera that took it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.camera import Camera
from invgraph.data.bounds import Bounds, bounds_from_frames
from invgraph.data.images import (
    has_alpha,
    image_size,
    load_image,
    load_mask,
    mask_dark_background,
)
from invgraph.data.truth import Truth

MaskSource = Literal["file", "alpha", "dark background"]


@dataclass(frozen=True, eq=False)
class Frame:
    """One photograph, decoded only when asked for.

    Args:
        name: unique in its capture and safe as part of a file name.
        camera: unbatched; pixels refer to the upright photograph.
        image_path: the photograph.
        mask_path: the mask, if it is a file of its own.
        mask_source: where the mask comes from; None if there is none.
    """

    name: str
    camera: Camera
    image_path: Path
    mask_path: Path | None = None
    mask_source: MaskSource | None = None

    def load(self) -> tuple[Float[Tensor, "h w 3"], Float[Tensor, "h w"] | None]:
        """Decode the photograph (linear straight RGB) and its mask (1 = object).

        Raises:
            ValueError: a file is missing, damaged or of another size than the camera, or the mask
                is empty.
        """
        image, alpha = load_image(self.image_path)
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
            return self._checked_mask(self.mask_path, load_mask(self.mask_path))
        if self.mask_source == "dark background":
            return self._checked_mask(self.image_path, mask_dark_background(self.image_path))
        if self.mask_source == "alpha":
            return self._checked_mask(self.image_path, load_image(self.image_path)[1])
        return None

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
        if (height, width) != (self.camera.height, self.camera.width):
            raise ValueError(_size_message(path, (height, width), self.camera))


@dataclass(frozen=True, eq=False)
class Capture:
    """Photographs of one scene and their cameras.

    Args:
        name: the folder's name.
        frames: in the order of the capture's own list.
        test: indices of the held-out frames.
        truth: what is known besides the photographs; for evaluation only.
        box: corners (lower, upper) of the object's bounding box in the world, if the capture
            states it.
    """

    name: str
    frames: tuple[Frame, ...]
    test: tuple[int, ...]
    truth: Truth | None = None
    box: Float[Tensor, "2 3"] | None = None

    @property
    def train(self) -> tuple[int, ...]:
        """Indices of the frames that are not held out."""
        held_out = set(self.test)
        return tuple(index for index in range(len(self.frames)) if index not in held_out)

    def bounds(self) -> Bounds:
        """Estimate where the object is, from the training frames' cameras and masks.

        Decodes up to 48 masks; keep the result.

        Raises:
            ValueError: the cameras and masks agree on no place for an object.
        """
        return bounds_from_frames([self.frames[index] for index in self.train], self.box)


def make_frame(
    name: str,
    camera_from_world: np.ndarray,
    focal: tuple[float, float],
    principal: tuple[float, float],
    size: tuple[int, int],
    image_path: Path,
    *,
    distortion: tuple[float, ...] | None = None,
    mask_path: Path | None = None,
) -> Frame:
    """Build a frame from float64 numbers, checking its files by their headers.

    Args:
        size: (height, width) that ``focal`` and ``principal`` refer to.

    Raises:
        ValueError: a file is missing or of another size than ``size``.
    """
    lens = None if distortion is None else torch.tensor(distortion, dtype=torch.float32)
    camera = Camera(
        camera_from_world=torch.from_numpy(camera_from_world.astype(np.float32)),
        focal=torch.tensor(focal, dtype=torch.float32),
        principal=torch.tensor(principal, dtype=torch.float32),
        height=size[0],
        width=size[1],
        distortion=lens,
    )
    for path in (image_path, mask_path):
        if path is not None and (found := image_size(path)) != size:
            raise ValueError(_size_message(path, found, camera))
    source: MaskSource | None = "file" if mask_path is not None else None
    if source is None and has_alpha(image_path):
        source = "alpha"
    return Frame(name, camera, image_path, mask_path, source)


def checked_pose(matrix: object, where: str) -> np.ndarray:
    """Validate a pose read from a file and make it exactly rigid.

    Args:
        matrix: 4x4 or 3x4 numbers, nested lists or an array.
        where: file and frame, for the message.

    Returns:
        4x4 float64 whose rotation is orthonormal to machine precision.

    Raises:
        ValueError: wrong shape, not numbers, not finite, a mirror, or not a rotation to 1 %.
    """
    try:
        pose = np.asarray(matrix, dtype=np.float64)
    except (TypeError, ValueError):
        pose = np.empty(0)
    if pose.shape not in ((4, 4), (3, 4)):
        raise ValueError(f"{where}: the pose is no 4x4 matrix of numbers; export the poses again.")
    if not np.isfinite(pose).all():
        raise ValueError(
            f"{where}: the pose holds NaN or infinity; remove the photo or redo its pose."
        )
    rotation = pose[:3, :3]
    gram = rotation @ rotation.T
    if np.abs(gram - np.eye(3)).max() > 0.02 or np.linalg.det(rotation) < 0:
        raise ValueError(
            f"{where}: the pose is not rigid (determinant {np.linalg.det(rotation):.4g}, expected "
            "a rotation with determinant 1); remove scale, shear or mirroring from the poses."
        )
    u, _, vt = np.linalg.svd(rotation)
    rigid = np.eye(4)
    rigid[:3, :3] = u @ vt
    rigid[:3, 3] = pose[:3, 3]
    return rigid


def held_out(count: int, source: Path) -> tuple[int, ...]:
    """The default test split: every 8th photo, starting with the first.

    Raises:
        ValueError: fewer than two photos, so that nothing could be learnt and tested.
    """
    if count < 2:
        raise ValueError(
            f"{source}: {count} photo{'' if count == 1 else 's'} found, a capture needs at least 2 "
            "to hold one out; add photos taken from other directions."
        )
    return tuple(range(0, count, 8))


def unique_names(paths: list[Path], folder: Path) -> list[str]:
    """Names that are unique and safe inside file names, from the photographs' paths."""
    stems = [path.stem for path in paths]
    names = []
    used: set[str] = set()
    for path, stem in zip(paths, stems, strict=True):
        text = stem
        if stems.count(stem) > 1:
            text = "_".join(path.relative_to(folder).with_suffix("").parts)
        text = "".join(c if c.isalnum() or c in "-_." else "_" for c in text).lstrip(".")[:80]
        name = text or "photo"
        suffix = 1
        while name.casefold() in used:
            suffix += 1
            name = f"{text}_{suffix}"
        used.add(name.casefold())
        names.append(name)
    return names


def _size_message(path: Path, found: tuple[int, int], camera: Camera) -> str:
    return (
        f"{path} is {found[0]}x{found[1]} (h x w) but its camera is "
        f"{camera.height}x{camera.width}; resize the file or correct the camera."
    )
