"""Where an image was taken from, through which lens."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.geometry import transforms
from invgraph.geometry.lens import Lens
from invgraph.geometry.tensor_tree import map_tensors


@dataclass(frozen=True, eq=False)
class Camera:
    """A lens at a place.

    Attributes:
        lens: how points become pixels; its batch axes broadcast with the pose's, so one lens
            serves many poses.
        camera_from_world: rigid pose; camera axes are x right, y down, z forward.

    The lens's own attributes can be read from the camera; they have the lens's batch axes.

    Raises:
        ValueError: the tensors' shapes, dtypes or devices do not fit together.
    """

    lens: Lens
    camera_from_world: Float[Tensor, "*batch 4 4"]

    def __post_init__(self) -> None:
        pose, focal = self.camera_from_world, self.lens.focal
        if pose.shape[-2:] != (4, 4):
            raise ValueError(f"camera_from_world should end in 4 4 but has {tuple(pose.shape)}.")
        if pose.dtype != focal.dtype or pose.device != focal.device:
            raise ValueError(
                f"camera_from_world is {pose.dtype} on {pose.device} but its lens is "
                f"{focal.dtype} on {focal.device}; convert one of them."
            )
        try:
            self.batch_shape  # noqa: B018
        except RuntimeError:
            raise ValueError(
                f"batch axes {tuple(self.lens.batch_shape)} of the lens do not broadcast with "
                f"{tuple(pose.shape[:-2])} of camera_from_world; expand one of them."
            ) from None

    @property
    def batch_shape(self) -> torch.Size:
        """The batch axes of lens and pose, broadcast."""
        return torch.broadcast_shapes(self.lens.batch_shape, self.camera_from_world.shape[:-2])

    @property
    def focal(self) -> Tensor:
        """fx, fy of the lens, pixels."""
        return self.lens.focal

    @property
    def principal(self) -> Tensor:
        """cx, cy of the lens, pixels from the image's top-left corner."""
        return self.lens.principal

    @property
    def distortion(self) -> Tensor | None:
        """Coefficients of the lens's distortion; None for a pinhole."""
        return self.lens.distortion

    @property
    def height(self) -> int:
        """Rows of the image."""
        return self.lens.height

    @property
    def width(self) -> int:
        """Columns of the image."""
        return self.lens.width

    @property
    def near(self) -> float:
        """Points closer than this along the optical axis are not seen."""
        return self.lens.near

    @property
    def K(self) -> Tensor:
        """The lens's intrinsic matrix, with pixel origin at the top-left corner; no distortion."""
        return self.lens.K

    @property
    def centre(self) -> Float[Tensor, "*batch 3"]:
        """The camera's position, world frame."""
        return transforms.invert(self.camera_from_world)[..., :3, 3]

    def to(self, target: torch.device | str | torch.dtype) -> "Camera":
        """The same camera on another device or in another precision."""
        return map_tensors(lambda tensor: tensor.to(target), self)

    def expanded(self, batch: Sequence[int] | None = None) -> "Camera":
        """The same camera whose lens and pose both have all batch axes, or those given."""
        batch = self.batch_shape if batch is None else batch
        return Camera(self.lens.expand(*batch), self.camera_from_world.expand(*batch, 4, 4))

    def __getitem__(self, index: int | slice | Tensor | list[int]) -> "Camera":
        """One camera, or some cameras, of a batch, along its first axis."""
        if not self.batch_shape:
            raise IndexError("this camera has no batch axis to index.")
        whole, rank = self.expanded(), len(self.batch_shape)
        shared = len(self.lens.batch_shape) < rank
        still = self.camera_from_world.dim() - 2 < rank
        return Camera(
            self.lens if shared else whole.lens[index],
            self.camera_from_world if still else whole.camera_from_world[index],
        )

    def __len__(self) -> int:
        if not self.batch_shape:
            raise TypeError("this camera has no batch axis, hence no length.")
        return self.batch_shape[0]

    def __iter__(self) -> Iterator["Camera"]:
        return (self[index] for index in range(len(self)))

    def with_lens(self, **changes: Any) -> "Camera":
        """The same camera with some attributes of its lens changed."""
        return replace(self, lens=replace(self.lens, **changes))

    def straight(self) -> "Camera":
        """The same camera without lens distortion."""
        return replace(self, lens=self.lens.straight())

    def crop(self, top: int, left: int, height: int, width: int) -> "Camera":
        """The camera of a window of the image, which may reach over its borders."""
        return replace(self, lens=self.lens.crop(top, left, height, width))

    def resize(self, height: int, width: int) -> "Camera":
        """The camera of the image resampled to another size."""
        return replace(self, lens=self.lens.resize(height, width))

    def binned(self, step: int) -> "Camera":
        """The camera of the image whose blocks were averaged; see :meth:`Lens.binned`."""
        return replace(self, lens=self.lens.binned(step))

    def quarter_turn(self, turns: int = 1) -> "Camera":
        """The camera of the image turned counter-clockwise, as ``torch.rot90`` turns it."""
        pose = self.camera_from_world
        for _ in range(turns % 4):
            x, y, z, last = pose.unbind(-2)
            pose = torch.stack((y, -x, z, last), -2)
        return Camera(self.lens.quarter_turn(turns), pose)

    def homogeneous_pixels(
        self, points_world: Float[Tensor, "*points n 3"]
    ) -> Float[Tensor, "*batch n 3"]:
        """Pixels times depth, and depth, of world points; see :meth:`Lens.homogeneous`.

        Args:
            points_world: world frame; batch axes broadcast with the camera's.

        Gradients:
            Reach the points and every tensor of the camera. The radius beyond which distortion is
            frozen counts as a constant.
        """
        return self.lens.homogeneous(transforms.apply(self.camera_from_world, points_world))

    def project(
        self, points_world: Float[Tensor, "*points n 3"]
    ) -> tuple[Float[Tensor, "*batch n 2"], Float[Tensor, "*batch n"]]:
        """Pixels ``(u, v)`` and depth along the optical axis of world points.

        Points whose depth is not above ``near`` have no image, but in a fisheye; see
        :meth:`Lens.project`.

        Args:
            points_world: world frame; batch axes broadcast with the camera's.

        Gradients:
            Reach the points and every tensor of the camera.
        """
        return self.lens.project(transforms.apply(self.camera_from_world, points_world))

    def unproject_pixels(
        self, pixels: Float[Tensor, "*#points n 2"], depth: Float[Tensor, "*#points n"]
    ) -> Float[Tensor, "*batch n 3"]:
        """World points that appear at given pixels, at given depths.

        Args:
            pixels: (u, v), corner origin; batch axes broadcast with the camera's.
            depth: along the optical axis.

        Gradients:
            Reach ``pixels``, ``depth`` and every tensor of the camera, to first order.
        """
        points = self.lens.unproject(pixels, depth)
        return transforms.apply(transforms.invert(self.camera_from_world), points)

    def unproject(self, depth: Float[Tensor, "*batch h w"]) -> Float[Tensor, "*batch h w 3"]:
        """Lift a depth map to one world point per pixel centre.

        Args:
            depth: along the optical axis, not along the ray; same batch axes as the camera.

        Raises:
            ValueError: ``depth`` has another resolution than the camera.

        Gradients:
            Reach ``depth`` and every tensor of the camera.
        """
        if tuple(depth.shape[-2:]) != (self.height, self.width):
            raise ValueError(
                f"depth is {depth.shape[-2]}x{depth.shape[-1]} (h x w) but camera is "
                f"{self.height}x{self.width}; resize one of them first."
            )
        points = self.unproject_pixels(self.lens.pixel_centres, depth.flatten(-2))
        return points.unflatten(-2, (self.height, self.width))

    def rays(self) -> tuple[Float[Tensor, "*batch h w 3"], Float[Tensor, "*batch h w 3"]]:
        """Origin and unit direction, world frame, of the ray through every pixel centre."""
        world_from_camera = transforms.invert(self.camera_from_world)
        directions = self.lens.directions(self.lens.pixel_centres)
        directions = transforms.rotate(world_from_camera, directions)
        directions = directions.unflatten(-2, (self.height, self.width))
        return self.centre[..., None, None, :].expand_as(directions), directions


def stack(cameras: Sequence[Camera]) -> Camera:
    """One camera with a new first batch axis from cameras of equal size.

    Raises:
        ValueError: no cameras, or they differ in size, ``near``, batch axes, model, or whether
            they have distortion.
    """
    if not cameras:
        raise ValueError("stack needs at least one camera.")
    first = cameras[0]
    for camera in cameras:
        for name in ("height", "width", "near", "batch_shape"):
            if getattr(camera, name) != getattr(first, name):
                raise ValueError(
                    f"cameras to stack should agree in {name} but have {getattr(first, name)} and "
                    f"{getattr(camera, name)}; resize or stack them separately."
                )
        if (camera.distortion is None) != (first.distortion is None):
            raise ValueError(
                "some cameras to stack have distortion and some have none; give these zeros."
            )
        if camera.lens.model != first.lens.model:
            raise ValueError(
                f"cameras to stack have lenses of model {first.lens.model} and "
                f"{camera.lens.model}; stack them separately."
            )
    whole = [camera.expanded() for camera in cameras]
    distortions = [camera.distortion for camera in whole if camera.distortion is not None]
    lens = replace(
        first.lens,
        focal=torch.stack([camera.focal for camera in whole]),
        principal=torch.stack([camera.principal for camera in whole]),
        distortion=torch.stack(distortions) if distortions else None,
    )
    return Camera(lens, torch.stack([camera.camera_from_world for camera in whole]))
