"""Lenses: how points in a camera's frame become pixels, and back."""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.geometry import distortion as bending
from invgraph.geometry.distortion import COEFFICIENTS, Model
from invgraph.geometry.tensor_tree import map_tensors

# What real lenses have; numbers beyond are damage or of another unit.
_FOCAL = (1e-2, 1e4)  # longer sides of the image
_PRINCIPAL = 1e3  # the same, to either side
_COEFFICIENT = 1e9
MOST_PIXELS = 10**6  # along a side


@dataclass(frozen=True, eq=False)
class Lens:
    """What a camera is without its pose: x right, y down, z forward in its frame.

    Attributes:
        focal: fx, fy in pixels.
        principal: cx, cy in pixels; the origin is the image's top-left corner, so the centre of
            the first pixel is at (0.5, 0.5).
        height: rows of the image.
        width: columns of the image.
        distortion: the model's coefficients in OpenCV's order (``distortion.COEFFICIENTS``), or
            None for a pinhole.
        model: ``brown``: k1, k2, p1, p2, k3. ``rational``: these over a second polynomial with k4,
            k5, k6. ``fisheye``: k1 to k4 of the angle from the optical axis (equidistant where they
            are zero).
        near: points closer than this along the optical axis are not seen.

    Beyond the radius where the distortion polynomial stops increasing, the lens goes on with the
    magnification of that radius, so that nothing folds back into the image.

    Raises:
        ValueError: the tensors' shapes, dtypes or devices do not fit together.

    Source:
        Brown, Decentering distortion of lenses (1966), in OpenCV's parameters. Kannala & Brandt, A
        generic camera model and calibration method (2006), as in OpenCV's fisheye module.
    """

    focal: Float[Tensor, "*batch 2"]
    principal: Float[Tensor, "*batch 2"]
    height: int
    width: int
    distortion: Float[Tensor, "*batch k"] | None = None
    model: Model = "brown"
    near: float = 1e-3

    def __post_init__(self) -> None:
        if self.model not in COEFFICIENTS:
            raise ValueError(f"model should be one of {', '.join(COEFFICIENTS)}: {self.model!r}.")
        if self.distortion is None and self.model != "brown":
            raise ValueError(
                f"a {self.model} lens has {len(COEFFICIENTS[self.model])} distortion coefficients "
                "but got None; give zeros."
            )
        batch = tuple(self.focal.shape[:-1])
        expected: dict[str, tuple[Tensor, int]] = {
            "focal": (self.focal, 2),
            "principal": (self.principal, 2),
        }
        if self.distortion is not None:
            expected["distortion"] = (self.distortion, len(COEFFICIENTS[self.model]))
        for name, (tensor, count) in expected.items():
            if tuple(tensor.shape) != (*batch, count):
                raise ValueError(
                    f"{name} should have shape {(*batch, count)} to fit focal "
                    f"{tuple(self.focal.shape)} of a {self.model} lens but has "
                    f"{tuple(tensor.shape)}; expand it."
                )
            if tensor.dtype != self.focal.dtype or tensor.device != self.focal.device:
                raise ValueError(
                    f"{name} is {tensor.dtype} on {tensor.device} but focal is "
                    f"{self.focal.dtype} on {self.focal.device}; convert one of them."
                )
        if self.height < 1 or self.width < 1:
            raise ValueError(f"image size {self.height}x{self.width} (h x w) should be positive.")
        if not (self.near > 0 and math.isfinite(self.near)):
            raise ValueError(f"near should be a positive distance but is {self.near}.")

    @property
    def batch_shape(self) -> torch.Size:
        """The batch axes shared by all tensors."""
        return self.focal.shape[:-1]

    @property
    def K(self) -> Float[Tensor, "*batch 3 3"]:
        """The intrinsic matrix, with pixel origin at the top-left corner; no distortion."""
        matrix = torch.diag_embed(torch.cat((self.focal, torch.ones_like(self.focal[..., :1])), -1))
        shift = torch.nn.functional.pad(self.principal[..., None], (2, 0, 0, 1))
        return matrix + shift

    @property
    def bends(self) -> bool:
        """Whether this is anything but a pinhole."""
        if self.distortion is None:
            return False
        return self.model == "fisheye" or bool((self.distortion != 0).any())

    @property
    def pixel_centres(self) -> Float[Tensor, "n 2"]:
        """(u, v) of the centre of every pixel, row by row."""
        like = {"dtype": self.focal.dtype, "device": self.focal.device}
        v = torch.arange(self.height, **like) + 0.5
        u = torch.arange(self.width, **like) + 0.5
        return torch.stack(torch.meshgrid(u, v, indexing="xy"), -1).reshape(-1, 2)

    @property
    def facts(self) -> dict[str, Any]:
        """Everything but ``near`` as JSON values."""
        return {
            "height": self.height,
            "width": self.width,
            "focal": self.focal.tolist(),
            "principal": self.principal.tolist(),
            "distortion": None if self.distortion is None else self.distortion.tolist(),
            "model": self.model,
        }

    def to(self, target: torch.device | str | torch.dtype) -> "Lens":
        """The same lens on another device or in another precision."""
        return map_tensors(lambda tensor: tensor.to(target), self)

    def expand(self, *batch: int) -> "Lens":
        """The same lens with more batch axes."""
        return map_tensors(lambda tensor: tensor.expand(*batch, tensor.shape[-1]), self)

    def __getitem__(self, index: int | slice | Tensor | list[int]) -> "Lens":
        """One lens, or some lenses, of a batch, along its first axis."""
        if not self.batch_shape:
            raise IndexError("this lens has no batch axis to index.")
        return map_tensors(lambda tensor: tensor[index], self)

    def crop(self, top: int, left: int, height: int, width: int) -> "Lens":
        """The lens of a window of the image, which may reach over its borders."""
        offset = self.principal.new_tensor([left, top])
        return replace(self, principal=self.principal - offset, height=height, width=width)

    def resize(self, height: int, width: int) -> "Lens":
        """The lens of the image resampled to another size."""
        scale = self.focal.new_tensor([width / self.width, height / self.height])
        return replace(
            self,
            focal=self.focal * scale,
            principal=self.principal * scale,
            height=height,
            width=width,
        )

    def binned(self, step: int) -> "Lens":
        """The lens of the image whose blocks of ``step`` by ``step`` pixels were averaged.

        Blocks that are not whole, at the right and below, are cut off.
        """
        return replace(
            self,
            focal=self.focal / step,
            principal=self.principal / step,
            height=self.height // step,
            width=self.width // step,
        )

    def quarter_turn(self, turns: int = 1) -> "Lens":
        """The lens of the image turned counter-clockwise, as ``torch.rot90`` turns it.

        The camera's frame turns with it: with every turn, new x is old y and new y is old -x.
        """
        lens = self
        for _ in range(turns % 4):
            lens = lens._turned()
        return lens

    def _turned(self) -> "Lens":
        cx, cy = self.principal.unbind(-1)
        distortion = self.distortion
        if distortion is not None and self.model != "fisheye":
            p1, p2 = distortion[..., 2:3], distortion[..., 3:4]
            distortion = torch.cat((distortion[..., :2], -p2, p1, distortion[..., 4:]), -1)
        return replace(
            self,
            focal=self.focal.flip(-1),
            principal=torch.stack((cy, self.width - cx), -1),
            height=self.width,
            width=self.height,
            distortion=distortion,
        )

    def straight(self) -> "Lens":
        """The pinhole with the same focal length and principal point."""
        return replace(self, distortion=None, model="brown")

    def homogeneous(self, points: Float[Tensor, "*points n 3"]) -> Float[Tensor, "*batch n 3"]:
        """Pixels times depth, and depth: ``(u * z, v * z, z)``, finite for every point.

        This is what a rasterizer needs: between vertices these numbers interpolate linearly, also
        through ``z = 0``. Distortion is applied to each point, so a line between two points stays
        straight: images of meshes are exact at vertices and as good as the mesh is fine elsewhere.
        A fisheye is exact up to 84 degrees from its axis, and a pinhole beyond.

        Args:
            points: camera frame; batch axes broadcast with the lens's.

        Gradients:
            Reach the points and every tensor of the lens. The radius beyond which distortion is
            frozen counts as a constant.
        """
        xy, z = points[..., :2], points[..., 2:]
        if self.distortion is not None:
            limit = bending.trusted_radius(self.distortion, self.model)
            xy = bending.distort(xy, z, self.distortion, self.model, limit)
        pixels = xy * self.focal[..., None, :] + z * self.principal[..., None, :]
        return torch.cat((pixels, z.expand(*pixels.shape[:-1], 1)), -1)

    def project(
        self, points: Float[Tensor, "*points n 3"]
    ) -> tuple[Float[Tensor, "*batch n 2"], Float[Tensor, "*batch n"]]:
        """Pixels ``(u, v)`` and depth along the optical axis.

        Points whose depth is not above ``near`` have no image: their pixels are finite but mean
        nothing, so look at the depth. Only a fisheye images them as well, all round.

        Args:
            points: camera frame; batch axes broadcast with the lens's.

        Gradients:
            Reach the points and every tensor of the lens.
        """
        if self.model == "fisheye" and self.distortion is not None:
            bent = bending.bend_all_round(points, self.distortion)
            pixels = bent * self.focal[..., None, :] + self.principal[..., None, :]
            return pixels, points[..., 2].expand(pixels.shape[:-1])
        homogeneous = self.homogeneous(points)
        depth = homogeneous[..., 2]
        divisor = torch.where(depth.abs() < self.near, torch.full_like(depth, self.near), depth)
        return homogeneous[..., :2] / divisor[..., None], depth

    def jacobian(self, points: Float[Tensor, "*points n 3"]) -> Float[Tensor, "*batch n 2 3"]:
        """Derivatives of the pixels of :meth:`project` by points.

        Where a point has no image they are finite but mean nothing.

        Args:
            points: camera frame; batch axes broadcast with the lens's.
        """
        if self.model == "fisheye" and self.distortion is not None:
            bent = bending.bend_all_round_jacobian(points, self.distortion)
            return bent * self.focal[..., None, :, None]
        z = points[..., 2:].clamp_min(self.near)
        q = points[..., :2] / z
        if self.distortion is None:
            by_plane = torch.eye(2, dtype=q.dtype, device=q.device).expand(*q.shape, 2)
        else:
            limit = bending.trusted_radius(self.distortion, self.model)
            a, b, c, d = bending.plane_jacobian(q, self.distortion, self.model, limit)
            by_plane = torch.stack((torch.stack((a, b), -1), torch.stack((c, d), -1)), -2)
        scaled = by_plane * (self.focal[..., None, :] / z)[..., None]
        return torch.cat((scaled, -(scaled @ q[..., None])), -1)

    def directions(self, pixels: Float[Tensor, "*points n 2"]) -> Float[Tensor, "*batch n 3"]:
        """Unit directions, camera frame, of what appears at given pixels.

        Args:
            pixels: (u, v), corner origin; batch axes broadcast with the lens's.

        Gradients:
            Reach ``pixels`` and every tensor of the lens, to first order.
        """
        xy = self._bent(pixels)
        if self.model == "fisheye" and self.distortion is not None:
            return bending.unbend_all_round(xy, self.distortion)
        return torch.nn.functional.normalize(self._at_depth_one(xy), dim=-1)

    def unproject(
        self, pixels: Float[Tensor, "*#points n 2"], depth: Float[Tensor, "*#points n"]
    ) -> Float[Tensor, "*batch n 3"]:
        """Points that appear at given pixels, at given depths.

        Args:
            pixels: (u, v), corner origin; batch axes broadcast with the lens's.
            depth: along the optical axis; negative behind a fisheye.

        Gradients:
            Reach ``pixels``, ``depth`` and every tensor of the lens, to first order.
        """
        xy = self._bent(pixels)
        if self.model == "fisheye" and self.distortion is not None:
            directions = bending.unbend_all_round(xy, self.distortion)
            return directions * (depth / directions[..., 2])[..., None]
        return self._at_depth_one(xy) * depth[..., None]

    def _bent(self, pixels: Tensor) -> Tensor:
        """Pixels in units of the focal length, from the principal point."""
        return (pixels - self.principal[..., None, :]) / self.focal[..., None, :]

    def _at_depth_one(self, xy: Tensor) -> Tensor:
        if self.distortion is not None:
            xy = bending.undistort(xy, self.distortion, self.model)
        return torch.cat((xy, torch.ones_like(xy[..., :1])), -1)


def checked_lens(lens: Lens, where: str) -> Lens:
    """Refuse a lens from a file whose numbers no lens has.

    Args:
        lens: without batch axes.
        where: file and entry, for the message.

    Returns:
        The same lens.

    Raises:
        ValueError: a number is not finite, the focal length is not positive, or one of them is far
            beyond what an image of that size allows.
    """
    height, width = lens.height, lens.width
    if max(height, width) > MOST_PIXELS:
        raise ValueError(
            f"{where}: the image is {height!s:.12}x{width!s:.12} (h x w), expected at most "
            f"{MOST_PIXELS} pixels along a side; correct its size."
        )
    side = max(height, width)
    low, high = (share * side for share in _FOCAL)
    for name, value in zip(("fx", "fy"), lens.focal.tolist(), strict=True):
        if not low < value < high:
            raise ValueError(
                f"{where}: focal length {name} is {value:g} pixels, expected > {low:g} and "
                f"< {high:g} for an image of {height}x{width} (h x w); correct the calibration."
            )
    for name, value in zip(("cx", "cy"), lens.principal.tolist(), strict=True):
        if not abs(value) <= _PRINCIPAL * side:
            raise ValueError(
                f"{where}: principal point {name} is {value:g} pixels, expected a place near the "
                f"image of {height}x{width} (h x w); correct the calibration."
            )
    bent = [] if lens.distortion is None else lens.distortion.tolist()
    for name, value in zip(COEFFICIENTS[lens.model], bent, strict=False):
        if not abs(value) <= _COEFFICIENT:
            raise ValueError(
                f"{where}: distortion {name} is {value:g}, expected a coefficient of a "
                f"{lens.model} lens; correct the calibration."
            )
    return lens
