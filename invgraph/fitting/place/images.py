"""Posed images for matching: undistorted, at one scale, read when they are needed."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import numpy as np
from torch import Tensor

from invgraph.data import Frame
from invgraph.fitting.place.sweep import PosedImage
from invgraph.fitting.place.views import exact
from invgraph.geometry.camera import Camera
from invgraph.geometry.color import srgb_from_linear
from invgraph.photometric.warp import undistort

T = TypeVar("T")
RECENT = 24  # photos or maps in memory at once


class Recent(Generic[T]):
    """What a function gives for an index; the last few results are kept."""

    def __init__(self, load: Callable[[int], T]) -> None:
        self._load = load
        self._kept: OrderedDict[int, T] = OrderedDict()

    def __getitem__(self, index: int) -> T:
        if index not in self._kept:
            self._kept[index] = self._load(index)
            if len(self._kept) > RECENT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(index)
        return self._kept[index]


class UndistortedImages(Sequence[Tensor]):
    """Photographs without their lens distortion, read from disk each time one is asked for.

    Args:
        frames: with cameras.

    Attributes:
        cameras: of the photographs as they are given here.
    """

    def __init__(self, frames: Sequence[Frame]) -> None:
        self._frames = frames
        self.cameras = [frame.known_camera.straight() for frame in frames]

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> Tensor:  # type: ignore[override]
        frame = self._frames[index]
        return undistort(frame.load()[0], frame.known_camera)[0]


class PosedImages:
    """Photos averaged down by a whole factor until their longer side fits.

    Args:
        images: linear RGB, one per camera.
        cameras: without distortion.
        size: of the longer side, at most.

    Attributes:
        cameras: at the resolution of the photos as they are given here.
        views: the same, in double precision.

    Raises:
        ValueError: as for ``estimate_depth``; of an image's shape once it is asked for.
    """

    def __init__(self, images: Sequence[Tensor], cameras: Sequence[Camera], size: int) -> None:
        if len(images) != len(cameras):
            raise ValueError(
                f"there are {len(images)} images for {len(cameras)} cameras; give one camera per "
                "image."
            )
        if len(images) < 2:
            raise ValueError(
                f"depth needs at least 2 photos from different places, got {len(images)}."
            )
        for index, camera in enumerate(cameras):
            _check(index, camera)
        self._images, self._whole = images, cameras
        self._steps = [-(-max(camera.height, camera.width) // size) for camera in cameras]
        self.cameras = [
            camera.binned(step) for camera, step in zip(cameras, self._steps, strict=True)
        ]
        self.views = [exact(camera) for camera in self.cameras]
        self._recent = Recent(self._load)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> PosedImage:
        return self._recent[index]

    def _load(self, index: int) -> PosedImage:
        image, camera, step = self._images[index], self._whole[index], self._steps[index]
        if tuple(image.shape) != (camera.height, camera.width, 3):
            raise ValueError(
                f"image {index} has shape {tuple(image.shape)} but its camera is "
                f"{camera.height}x{camera.width} (h x w); resize one of them first."
            )
        color = srgb_from_linear(image.detach().float().cpu()).clamp(0, 1).numpy()
        view = self.views[index]
        if step > 1:
            color = color[: view.height * step, : view.width * step]
            blocks = color.reshape(view.height, step, view.width, step, 3)
            color = np.ascontiguousarray(blocks.mean((1, 3), dtype=np.float32))
        return PosedImage.of(color, view)


def _check(index: int, camera: Camera) -> None:
    if camera.batch_shape:
        raise ValueError(f"camera {index} has batch axes; give one camera per image.")
    if camera.lens.bends:
        raise ValueError(
            f"camera {index} has lens distortion; undistort its photo first "
            "(invgraph.photometric.warp.undistort)."
        )
    tensors = (camera.camera_from_world, camera.focal, camera.principal)
    if not all(bool(tensor.isfinite().all()) for tensor in tensors):
        raise ValueError(f"camera {index} is not finite; leave its photo out.")
