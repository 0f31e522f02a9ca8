"""Where an image was taken from, with what lens."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.geometry import transforms
from invgraph.geometry.tensor_tree import map_tensors

# Brown's polynomial is trusted up to the smaller of the radius where its slope has fallen to
# _MIN_SLOPE and tan(84 degrees).
_MIN_SLOPE = 0.05
_MAX_RADIUS = 10.0
_NEWTON_STEPS = 20
_PIECE = 8192


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera with optional lens distortion; x right, y down, z forward.

    Attributes:
        camera_from_world: rigid pose.
        focal: fx, fy in pixels.
        principal: cx, cy in pixels; the origin is the image's top-left corner, so the centre of
            the first pixel is at (0.5, 0.5).
        height: rows of the image.
        width: columns of the image.
        distortion: Brown's k1, k2, p1, p2, k3 (OpenCV's order), or None.
        near: points closer than this along the optical axis are not seen.

    Beyond the radius where the distortion polynomial stops increasing, the camera goes on as a
    pinhole with the magnification of that radius, so that nothing folds back into the image.

    Raises:
        ValueError: the tensors' shapes, dtypes or devices do not fit together.
    """

    camera_from_world: Float[Tensor, "*batch 4 4"]
    focal: Float[Tensor, "*batch 2"]
    principal: Float[Tensor, "*batch 2"]
    height: int
    width: int
    distortion: Float[Tensor, "*batch 5"] | None = None
    near: float = 1e-3

    def __post_init__(self) -> None:
        pose = self.camera_from_world
        batch = tuple(pose.shape[:-2])
        expected: dict[str, tuple[Tensor, tuple[int, ...]]] = {
            "camera_from_world": (pose, (*batch, 4, 4))
        }
        expected["focal"] = (self.focal, (*batch, 2))
        expected["principal"] = (self.principal, (*batch, 2))
        if self.distortion is not None:
            expected["distortion"] = (self.distortion, (*batch, 5))
        for name, (tensor, shape) in expected.items():
            if tuple(tensor.shape) != shape:
                raise ValueError(
                    f"{name} should have shape {shape} to fit camera_from_world "
                    f"{tuple(pose.shape)} but has {tuple(tensor.shape)}; expand it."
                )
            if tensor.dtype != pose.dtype or tensor.device != pose.device:
                raise ValueError(
                    f"{name} is {tensor.dtype} on {tensor.device} but camera_from_world is "
                    f"{pose.dtype} on {pose.device}; convert one of them."
                )
        if self.height < 1 or self.width < 1:
            raise ValueError(f"image size {self.height}x{self.width} (h x w) should be positive.")
        if not (self.near > 0 and math.isfinite(self.near)):
            raise ValueError(f"near should be a positive distance but is {self.near}.")

    @property
    def batch_shape(self) -> torch.Size:
        """The batch axes shared by all tensors."""
        return self.camera_from_world.shape[:-2]

    @property
    def centre(self) -> Float[Tensor, "*batch 3"]:
        """The camera's position, world frame."""
        return transforms.invert(self.camera_from_world)[..., :3, 3]

    @property
    def K(self) -> Float[Tensor, "*batch 3 3"]:
        """The intrinsic matrix, with pixel origin at the top-left corner; no distortion."""
        matrix = torch.diag_embed(torch.cat((self.focal, torch.ones_like(self.focal[..., :1])), -1))
        shift = torch.nn.functional.pad(self.principal[..., None], (2, 0, 0, 1))
        return matrix + shift

    def to(self, target: torch.device | str | torch.dtype) -> "Camera":
        """The same camera on another device or in another precision."""
        return map_tensors(lambda tensor: tensor.to(target), self)

    def __getitem__(self, index: int | slice | Tensor | list[int]) -> "Camera":
        """One camera, or some cameras, of a batch, along its first axis."""
        if not self.batch_shape:
            raise IndexError("this camera has no batch axis to index.")
        return map_tensors(lambda tensor: tensor[index], self)

    def __len__(self) -> int:
        if not self.batch_shape:
            raise TypeError("this camera has no batch axis, hence no length.")
        return self.batch_shape[0]

    def __iter__(self) -> Iterator["Camera"]:
        return (self[index] for index in range(len(self)))

    def crop(self, top: int, left: int, height: int, width: int) -> "Camera":
        """The camera of a window of the image, which may reach over its borders."""
        offset = self.principal.new_tensor([left, top])
        return replace(self, principal=self.principal - offset, height=height, width=width)

    def resize(self, height: int, width: int) -> "Camera":
        """The camera of the image resampled to another size."""
        scale = self.focal.new_tensor([width / self.width, height / self.height])
        return replace(
            self,
            focal=self.focal * scale,
            principal=self.principal * scale,
            height=height,
            width=width,
        )

    def binned(self, step: int) -> "Camera":
        """The camera of the image whose blocks of ``step`` by ``step`` pixels were averaged.

        Blocks that are not whole, at the right and below, are cut off.
        """
        return replace(
            self,
            focal=self.focal / step,
            principal=self.principal / step,
            height=self.height // step,
            width=self.width // step,
        )

    def homogeneous_pixels(
        self, points_world: Float[Tensor, "*points n 3"]
    ) -> Float[Tensor, "*batch n 3"]:
        """Pixels times depth, and depth: ``(u * z, v * z, z)``, finite for every point.

        This is what a rasterizer needs: between vertices these numbers interpolate linearly, also
        through ``z = 0``. Distortion is applied to each point, so a line between two points stays
        straight: images of meshes are exact at vertices and as good as the mesh is fine elsewhere.

        Args:
            points_world: world frame; batch axes broadcast with the camera's.

        Gradients:
            Reach the points and every tensor of the camera. The radius beyond which distortion is
            frozen counts as a constant.
        """
        points = transforms.apply(self.camera_from_world, points_world)
        xy, z = points[..., :2], points[..., 2:]
        if self.distortion is not None:
            xy = _distort(xy, z, self.distortion, _trusted_radius(self.distortion))
        pixels = xy * self.focal[..., None, :] + z * self.principal[..., None, :]
        return torch.cat((pixels, z), -1)

    def project(
        self, points_world: Float[Tensor, "*points n 3"]
    ) -> tuple[Float[Tensor, "*batch n 2"], Float[Tensor, "*batch n"]]:
        """Pixels ``(u, v)`` and depth along the optical axis of world points.

        Points whose depth is not above ``near`` have no image: their pixels are finite but mean
        nothing, so look at the depth.

        Args:
            points_world: world frame; batch axes broadcast with the camera's.

        Gradients:
            Reach the points and every tensor of the camera.
        """
        homogeneous = self.homogeneous_pixels(points_world)
        depth = homogeneous[..., 2]
        divisor = torch.where(depth.abs() < self.near, torch.full_like(depth, self.near), depth)
        return homogeneous[..., :2] / divisor[..., None], depth

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
        points = self._directions(pixels) * depth[..., None]
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
        points = self.unproject_pixels(self._pixel_centres(), depth.flatten(-2))
        return points.unflatten(-2, (self.height, self.width))

    def rays(self) -> tuple[Float[Tensor, "*batch h w 3"], Float[Tensor, "*batch h w 3"]]:
        """Origin and unit direction, world frame, of the ray through every pixel centre."""
        world_from_camera = transforms.invert(self.camera_from_world)
        directions = transforms.rotate(world_from_camera, self._directions(self._pixel_centres()))
        directions = torch.nn.functional.normalize(directions, dim=-1)
        directions = directions.unflatten(-2, (self.height, self.width))
        return self.centre[..., None, None, :].expand_as(directions), directions

    def _pixel_centres(self) -> Tensor:
        like = {"dtype": self.focal.dtype, "device": self.focal.device}
        v = torch.arange(self.height, **like) + 0.5
        u = torch.arange(self.width, **like) + 0.5
        return torch.stack(torch.meshgrid(u, v, indexing="xy"), -1).reshape(-1, 2)

    def _directions(self, pixels: Tensor) -> Tensor:
        """Camera-frame directions with z = 1 through pixels."""
        xy = (pixels - self.principal[..., None, :]) / self.focal[..., None, :]
        if self.distortion is not None:
            xy = _undistort(xy, self.distortion)
        return torch.cat((xy, torch.ones_like(xy[..., :1])), -1)


def stack(cameras: Sequence[Camera]) -> Camera:
    """One camera with a new first batch axis from cameras of equal size.

    Raises:
        ValueError: no cameras, or they differ in size, ``near``, batch axes, or whether they
            have distortion.
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
    distortions = [camera.distortion for camera in cameras if camera.distortion is not None]
    return replace(
        first,
        camera_from_world=torch.stack([camera.camera_from_world for camera in cameras]),
        focal=torch.stack([camera.focal for camera in cameras]),
        principal=torch.stack([camera.principal for camera in cameras]),
        distortion=torch.stack(distortions) if distortions else None,
    )


def _trusted_radius(distortion: Tensor) -> Tensor:
    """Radius, in units of the image plane at z = 1, up to which distortion is applied.

    The slope of r (1 + k1 r^2 + k2 r^4 + k3 r^6) is 1 + 3 k1 s + 5 k2 s^2 + 7 k3 s^3 with s = r^2.
    In t = 1/s, slope = _MIN_SLOPE is a monic cubic whatever the k, and its largest positive real
    root, an eigenvalue of the companion matrix, gives the smallest radius.
    """
    k1, k2, _, _, k3 = distortion.detach().double().unbind(-1)
    companion = torch.zeros(*k1.shape, 3, 3, dtype=torch.float64, device=distortion.device)
    companion[..., 0, :] = torch.stack((-3 * k1, -5 * k2, -7 * k3), -1) / (1 - _MIN_SLOPE)
    companion[..., 1, 0] = 1
    companion[..., 2, 1] = 1
    roots = torch.linalg.eigvals(companion)
    real = roots.imag.abs() <= 1e-9 * roots.abs()
    largest = torch.where(real, roots.real, torch.zeros_like(roots.real)).amax(-1)
    return largest.clamp_min(_MAX_RADIUS**-2).rsqrt().to(distortion.dtype)


def _distort(xy: Tensor, z: Tensor, distortion: Tensor, limit: Tensor) -> Tensor:
    """Camera-frame x, y moved so that x/z, y/z are distorted; finite for every z.

    Source:
        Brown, Decentering distortion of lenses (1966), in OpenCV's parameters.
    """
    k1, k2, p1, p2, k3 = distortion[..., None, :].unbind(-1)
    limit = limit[..., None]
    x, y, z = xy[..., 0].contiguous(), xy[..., 1].contiguous(), z[..., 0]
    length2 = x * x + y * y
    inside = (z > 0) & (length2 < (limit * z) ** 2)
    # Image-plane coordinates q, pulled back to the limit where they are beyond it.
    shrink = limit * torch.where(inside | (length2 == 0), 1.0, length2).rsqrt()
    scale = torch.where(inside, 1 / torch.where(inside, z, 1.0), shrink)
    qx, qy = x * scale, y * scale
    r2 = qx * qx + qy * qy
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    cross = 2 * qx * qy
    return torch.stack(
        (
            x * radial + z * (p1 * cross + p2 * (r2 + 2 * qx * qx)),
            y * radial + z * (p1 * (r2 + 2 * qy * qy) + p2 * cross),
        ),
        -1,
    )


def _undistort(distorted: Tensor, distortion: Tensor) -> Tensor:
    """Undo :func:`_distort` at z = 1 by Newton's method.

    The iteration runs without gradients; one more step with the Jacobian held fixed carries the
    exact first derivatives (implicit function theorem).
    """
    limit = _trusted_radius(distortion)
    # Rounding errors grow by the inverse of the smallest slope.
    tolerance = 5 / _MIN_SLOPE * torch.finfo(distorted.dtype).eps
    one = torch.ones_like(distorted[..., :1])
    solved = []
    with torch.no_grad():
        # Pieces that stay in the cache: several times faster than whole images.
        for target in distorted.split(_PIECE, -2):
            xy, z = target, one[..., : target.shape[-2], :]
            for _ in range(_NEWTON_STEPS):
                error = _distort(xy, z, distortion, limit) - target
                change = _solve(_jacobian(xy, distortion, limit), error)
                xy = xy - change
                if bool((change.abs() <= tolerance * (1 + xy.abs())).all()):
                    break
            solved.append(xy)
        xy = torch.cat(solved, -2)
        if not (distorted.requires_grad or distortion.requires_grad):
            return xy
        jacobian = _jacobian(xy, distortion, limit)
    return xy - _solve(jacobian, _distort(xy, one, distortion, limit) - distorted)


def _jacobian(
    xy: Tensor, distortion: Tensor, limit: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Derivatives of :func:`_distort` at z = 1, row by row."""
    k1, k2, p1, p2, k3 = distortion[..., None, :].unbind(-1)
    limit = limit[..., None]
    x, y = (part.contiguous() for part in xy.unbind(-1))
    length2 = x * x + y * y
    inside = length2 < limit**2
    scale = torch.where(inside, 1.0, limit * length2.clamp_min(1e-30).rsqrt())
    qx, qy = x * scale, y * scale
    r2 = torch.where(inside, length2, limit**2)
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    slope2 = torch.where(inside, 2 * (k1 + r2 * (2 * k2 + r2 * 3 * k3)), 0.0)
    # Tangential part: its Jacobian times that of the pull-back to the limit, which is
    # scale (I - q q^T / |q|^2) beyond it.
    a, b, d = 2 * p1 * qy + 6 * p2 * qx, 2 * p1 * qx + 2 * p2 * qy, 6 * p1 * qy + 2 * p2 * qx
    inverse = torch.where(inside, 0.0, scale / r2.clamp_min(1e-30))
    xx, xyq, yy = scale - inverse * qx * qx, -inverse * qx * qy, scale - inverse * qy * qy
    cross = slope2 * x * y
    return (
        radial + slope2 * x * x + a * xx + b * xyq,
        cross + a * xyq + b * yy,
        cross + b * xx + d * xyq,
        radial + slope2 * y * y + b * xyq + d * yy,
    )


def _solve(jacobian: tuple[Tensor, Tensor, Tensor, Tensor], error: Tensor) -> Tensor:
    """The step that undoes ``error``; bounded where the Jacobian nearly loses rank."""
    a, b, c, d = jacobian
    determinant = (a * d - b * c).clamp_min(1e-6)
    ex, ey = error.unbind(-1)
    return torch.stack((d * ex - b * ey, a * ey - c * ex), -1) / determinant[..., None]
