"""A capture: photographs of one scene, each with the camera that took it where that is known."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.camera import Camera
from invgraph.data.bounds import Bounds, bounds_from_frames
from invgraph.data.images import (
    UnreadableImage,
    image_header,
    image_size,
    load_image,
    load_mask,
    mask_dark_background,
)
from invgraph.data.truth import Truth

MaskSource = Literal["file", "alpha", "dark background"]

CAMERAS_REMEDY = "estimate the cameras first, by invgraph.sfm.recover_cameras or with COLMAP."


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
        camera: unbatched; pixels refer to the upright photograph. None if unknown.
        image_path: the photograph.
        size: (height, width) of the upright photograph.
        mask_path: the mask, if it is a file of its own.
        mask_source: where the mask comes from; None if there is none.
        lens: the intrinsics where they are known without a pose: a camera at the world's origin,
            whose pose means nothing. None if unknown or if ``camera`` says it all.
        time: seconds on the recording's own clock; None if unknown.
        right: what the right camera of a pair saw; None if there is none.

    Raises:
        ValueError: ``camera`` or ``lens`` is of another size than the photograph.
    """

    name: str
    camera: Camera | None
    image_path: Path
    size: tuple[int, int]
    mask_path: Path | None = None
    mask_source: MaskSource | None = None
    lens: Camera | None = None
    time: float | None = None
    right: Right | None = None

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
    def intrinsics(self) -> Camera | None:
        """What is known about the lens: a camera whose pose means nothing. None if unknown."""
        return self.lens if self.lens is not None else self.camera

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
        if (height, width) != self.size:
            raise ValueError(_size_message(path, (height, width), self.size))


@dataclass(frozen=True, eq=False)
class Capture:
    """Photographs of one scene.

    Args:
        name: the folder's name.
        frames: in the order of the capture's own list.
        test: indices of the held-out frames.
        truth: what is known besides the photographs; for evaluation only.
        box: corners (lower, upper) of the object's bounding box in the world, if the capture
            states it.
        points: sparse points on the surfaces, world frame, if the capture has them.
        skipped: what could not be read, one "name: reason" each.
        kind: the format, in words.
    """

    name: str
    frames: tuple[Frame, ...]
    test: tuple[int, ...]
    truth: Truth | None = None
    box: Float[Tensor, "2 3"] | None = None
    points: Float[Tensor, "n 3"] | None = None
    skipped: tuple[str, ...] = ()
    kind: str = ""

    @property
    def has_cameras(self) -> bool:
        """Whether the camera of every frame is known."""
        return all(frame.camera is not None for frame in self.frames)

    @property
    def has_masks(self) -> bool:
        """Whether every frame has a mask."""
        return all(frame.mask_source is not None for frame in self.frames)

    def require_cameras(self) -> None:
        """Refuse a capture with unknown cameras.

        Raises:
            ValueError: a frame has no camera.
        """
        unknown = [frame for frame in self.frames if frame.camera is None]
        if unknown:
            raise ValueError(
                f"{self.name}: {len(unknown)} of {len(self.frames)} photos have no camera "
                f"(first {unknown[0].image_path}); {CAMERAS_REMEDY}"
            )

    def require_masks(self) -> None:
        """Refuse a capture in which some photos have no mask.

        Raises:
            ValueError: a frame has no mask.
        """
        bare = [frame for frame in self.frames if frame.mask_source is None]
        if bare:
            raise ValueError(
                f"{self.name}: {len(bare)} of {len(self.frames)} photos have no mask "
                f"(first {bare[0].image_path}); add masks or an alpha channel."
            )

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


@dataclass
class Unreadable:
    """What a reader had to leave out.

    Args:
        source: the file or folder that is read, for messages.
    """

    source: Path
    reasons: list[str] = field(default_factory=list)

    @contextmanager
    def skipping(self, name: str) -> Iterator[None]:
        """Note an unreadable image inside the ``with`` block and go on after it."""
        try:
            yield
        except UnreadableImage as error:
            self.reasons.append(f"{name}: {error}")

    def note(self, name: str, reason: str) -> None:
        """Note something that was left out."""
        self.reasons.append(f"{name}: {reason}")

    def require(self, count: int, least: int) -> None:
        """Refuse a capture of which too little could be read.

        Raises:
            ValueError: fewer than ``least`` photos are left.
        """
        if count >= least:
            return
        found = f"{self.source}: {count} photo{'' if count == 1 else 's'} found"
        if self.reasons:
            raise ValueError(
                f"{found} that can be read, a capture needs at least {least} "
                f"({len(self.reasons)} left out; first {self.reasons[0]})"
            )
        raise ValueError(
            f"{found}, a capture needs at least {least} to hold one out; add photos taken from "
            "other directions."
        )


def make_camera(
    camera_from_world: np.ndarray,
    focal: tuple[float, float],
    principal: tuple[float, float],
    size: tuple[int, int],
    distortion: tuple[float, ...] | None = None,
) -> Camera:
    """Build a single-precision camera from float64 numbers; ``size`` is (height, width)."""
    lens = None if distortion is None else torch.tensor(distortion, dtype=torch.float32)
    return Camera(
        camera_from_world=torch.from_numpy(camera_from_world.astype(np.float32)),
        focal=torch.tensor(focal, dtype=torch.float32),
        principal=torch.tensor(principal, dtype=torch.float32),
        height=size[0],
        width=size[1],
        distortion=lens,
    )


def make_frame(
    image_path: Path,
    camera: Camera | None = None,
    *,
    mask_path: Path | None = None,
    lens: Camera | None = None,
    time: float | None = None,
    right: Right | None = None,
    name: str = "",
) -> Frame:
    """Build a frame, checking its files by their headers.

    Raises:
        UnreadableImage: a file is missing or damaged.
        ValueError: a file is of another size than the camera or the photo.
    """
    size, transparent = image_header(image_path)
    for known in (camera, lens):
        if known is not None and _size(known) != size:
            raise ValueError(_size_message(image_path, size, _size(known)))
    if mask_path is not None and (found := image_size(mask_path)) != size:
        raise ValueError(_size_message(mask_path, found, size))
    if right is not None and (found := image_size(right.image_path)) != size:
        raise ValueError(_size_message(right.image_path, found, size))
    source: MaskSource | None = "file" if mask_path is not None else None
    if source is None and transparent:
        source = "alpha"
    return Frame(name, camera, image_path, size, mask_path, source, lens, time, right)


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
    except (TypeError, ValueError, OverflowError):
        pose = np.empty(0)
    if pose.shape not in ((4, 4), (3, 4)):
        raise ValueError(f"{where}: the pose is no 4x4 matrix of numbers; export the poses again.")
    if not (np.abs(pose) < np.finfo(np.float32).max).all():
        raise ValueError(
            f"{where}: the pose holds NaN, infinity or numbers too large; remove the photo or redo "
            "its pose."
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


def held_out(count: int, unreadable: Unreadable) -> tuple[int, ...]:
    """The default test split: every 8th photo, starting with the first.

    Raises:
        ValueError: fewer than two photos, so that nothing could be learnt and tested.
    """
    unreadable.require(count, 2)
    return tuple(range(0, count, 8))


def unique_names(paths: list[Path], folder: Path) -> list[str]:
    """Names that are unique and safe inside file names, from the photographs' paths."""
    counts = Counter(path.stem for path in paths)
    names = []
    used: set[str] = set()
    tried: dict[str, int] = {}
    for path in paths:
        text = path.stem
        if counts[text] > 1:
            text = "_".join(path.relative_to(folder).with_suffix("").parts)
        text = "".join(c if c.isalnum() or c in "-_." else "_" for c in text).lstrip(".")[:80]
        name = text or "photo"
        base = name
        while name.casefold() in used:
            tried[base] = tried.get(base, 1) + 1
            name = f"{base}_{tried[base]}"
        used.add(name.casefold())
        names.append(name)
    return names


def named(frames: list[Frame], folder: Path) -> tuple[Frame, ...]:
    """The frames with names that are unique and safe inside file names."""
    names = unique_names([frame.image_path for frame in frames], folder)
    return tuple(replace(frame, name=name) for frame, name in zip(frames, names, strict=True))


def _size(camera: Camera) -> tuple[int, int]:
    return camera.height, camera.width


def _size_message(path: Path, found: tuple[int, int], expected: tuple[int, int]) -> str:
    return (
        f"{path} is {found[0]}x{found[1]} (h x w) but its camera is "
        f"{expected[0]}x{expected[1]}; resize the file or correct the camera."
    )
