"""What is likely before any image is seen: distributions over the tensors of a scene."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import ClassVar, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from invgraph.geometry import transforms
from invgraph.geometry.lens import Lens
from invgraph.scene.domains import Domain, Free, RigidPose, Rotation

# Object frame (y up) to a camera that looks at the object's front from its height.
_FRONT = torch.tensor([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]])
_ALL_ROTATIONS = 8 * math.pi**2

DistributionT = TypeVar("DistributionT", bound="Distribution")


class Distribution(ABC):
    """A normalised density over the values of one tensor, or probabilities of a discrete one.

    Densities are per volume of values as :class:`invgraph.scene.domains.Domain` measures them.
    """

    @property
    @abstractmethod
    def domain(self) -> Domain | None:
        """Where the values lie; None if they are discrete and have no coordinates."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Of one value."""

    @abstractmethod
    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Independent values ``(count, *shape)``."""

    @abstractmethod
    def log_prob(self, value: Tensor) -> Float[Tensor, "*batch"]:
        """Logarithm of the density of values ``(*batch, *shape)``; -inf where there is none."""

    def given(self: DistributionT, lens: Lens) -> DistributionT:
        """The distribution for images taken through a lens, one or one per value."""
        return self


@dataclass(frozen=True, eq=False)
class Gaussian(Distribution):
    """Normal in a domain's coordinates around a value.

    Over numbers above zero that is a log-normal. On curved domains the scale should be well below
    their size (rotations: 1 rad), since what lies beyond half a turn is not wrapped around.

    Attributes:
        mean: the value in the middle.
        scale: standard deviation of each coordinate.
        over: the domain.
        correlation: between any two coordinates along the last axis, such as the channels of a
            colour; 0 to below 1.
    """

    mean: Float[Tensor, "..."]
    scale: Float[Tensor, "..."]
    over: Domain = field(default_factory=Free)
    correlation: float = 0.0

    def __post_init__(self) -> None:
        expected = self.over.coordinates_shape(self.shape)
        if tuple(self.scale.shape) != expected or not bool((self.scale > 0).all()):
            raise ValueError(
                f"scale should be {expected} numbers above zero, one per coordinate, but has shape "
                f"{tuple(self.scale.shape)} and least value {float(self.scale.min()):g}."
            )
        if not 0 <= self.correlation < 1:
            raise ValueError(f"correlation should be 0 to below 1 but is {self.correlation}.")

    @property
    def domain(self) -> Domain:
        return self.over

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.mean.shape)

    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        noise = torch.randn(count, *self.scale.shape, generator=generator)
        if self.correlation:
            shared = torch.randn(count, *self.scale.shape[:-1], 1, generator=generator)
            noise = math.sqrt(self.correlation) * shared + math.sqrt(1 - self.correlation) * noise
        return self.over.retract(noise * self.scale, self.mean)

    def log_prob(self, value: Tensor) -> Tensor:
        coordinates = self.over.local(value, self.mean)
        unit = coordinates / self.scale
        each = -0.5 * unit.square() - self.scale.log() - 0.5 * math.log(2 * math.pi)
        if self.correlation:
            # Of c equal correlations r: inverse and determinant by Sherman and Morrison.
            r, c = self.correlation, self.scale.shape[-1]
            together = r * unit.sum(-1, keepdim=True).square() / (1 + (c - 1) * r)
            square = (unit.square().sum(-1, keepdim=True) - together) / (1 - r)
            log_det = (c - 1) * math.log(1 - r) + math.log(1 + (c - 1) * r)
            each = each + 0.5 * unit.square() - (square + log_det) / (2 * c)
        volume = self.over.log_volume(coordinates, self.mean)
        batch = value.ndim - len(self.shape)
        return each.flatten(batch).sum(-1) - volume.reshape(*value.shape[:batch], -1).sum(-1)


@dataclass(frozen=True)
class Bernoulli(Distribution):
    """Whether something is so, such as whether an object is there.

    Attributes:
        probability: that it is.
    """

    probability: float

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(f"a probability should be 0 to 1 but is {self.probability}.")

    @property
    def domain(self) -> None:
        return None

    @property
    def shape(self) -> tuple[int, ...]:
        return ()

    def sample(
        self, count: int, generator: torch.Generator | None = None
    ) -> Bool[Tensor, " count"]:
        return torch.rand(count, generator=generator) < self.probability

    def log_prob(self, value: Bool[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        yes, no = torch.tensor([self.probability, 1 - self.probability]).log()
        return torch.where(value, yes, no)


class _Rotations(Distribution):
    """A distribution over rotation matrices."""

    domain: ClassVar[Domain] = Rotation()  # type: ignore[misc]
    shape: ClassVar[tuple[int, ...]] = (3, 3)  # type: ignore[misc]


@dataclass(frozen=True)
class AnyRotation(_Rotations):
    """All rotations alike: Haar's measure.

    Source:
        Shoemake, Uniform random rotations (1992), through normalised Gaussian quaternions.
    """

    def sample(
        self, count: int, generator: torch.Generator | None = None
    ) -> Float[Tensor, "count 3 3"]:
        quat_wxyz = torch.randn(count, 4, generator=generator)
        return transforms.matrix_from_quat_wxyz(quat_wxyz)

    def log_prob(self, value: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch"]:
        return value.new_full(value.shape[:-2], -math.log(_ALL_ROTATIONS))


@dataclass(frozen=True)
class Upright(_Rotations):
    """``camera_from_object`` rotations of what stands upright (y up) and is seen from around it.

    The direction from which it is seen is uniform by area within a band of the sphere; the camera's
    roll about its axis is normal.

    Attributes:
        elevation: lowest and highest angle of the camera over the object's horizon, radians.
        roll: standard deviation, radians.
    """

    elevation: tuple[float, float] = (0.0, math.pi / 3)
    roll: float = 0.15

    def __post_init__(self) -> None:
        low, high = self.elevation
        if not -math.pi / 2 <= low < high <= math.pi / 2 or not 0 < self.roll < 1:
            raise ValueError(
                "elevation should rise within -pi/2 to pi/2 and roll lie between 0 and 1, but they "
                f"are {self.elevation} and {self.roll}."
            )

    def sample(
        self, count: int, generator: torch.Generator | None = None
    ) -> Float[Tensor, "count 3 3"]:
        low, high = (math.sin(angle) for angle in self.elevation)
        uniform = torch.rand(2, count, generator=generator)
        elevation = torch.asin(low + (high - low) * uniform[0])
        azimuth = 2 * math.pi * uniform[1]
        roll = self.roll * torch.randn(count, generator=generator)
        return _about(2, roll) @ _FRONT @ _about(0, elevation) @ _about(1, azimuth)

    def log_prob(self, value: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch"]:
        # With these angles Haar's measure is cos(elevation) d(elevation) d(azimuth) d(roll).
        low, high = (math.sin(angle) for angle in self.elevation)
        height = -value[..., 2, 1]
        roll = torch.atan2(value[..., 0, 1], -value[..., 1, 1])
        normal = -0.5 * (roll / self.roll).square() - math.log(self.roll * math.sqrt(2 * math.pi))
        log = normal - math.log(2 * math.pi * (high - low))
        return torch.where((height >= low) & (height <= high), log, -math.inf)


@dataclass(frozen=True, eq=False)
class PoseInView(Distribution):
    """``camera_from_object`` of an object that is in the picture and about so large there.

    Its rotation has a distribution of its own. The ball of some radius about its origin takes a
    share of the image's side, uniform in its logarithm, which with the focal length gives the
    distance; the origin's pixel is uniform in a square about the middle of the image.

    Attributes:
        rotation: of ``camera_from_object``.
        radius: of the ball, metres.
        size: least and greatest share of the image's shorter side that the ball's diameter takes.
        offset: farthest pixel from the middle, along each axis, as a share of that side.
        lens: of the images, a pinhole, one or one per value; None until :meth:`given`.
    """

    rotation: AnyRotation | Upright
    radius: float
    size: tuple[float, float] = (0.55, 0.85)
    offset: float = 0.12
    lens: Lens | None = None

    def __post_init__(self) -> None:
        low, high = self.size
        if not (0 < low < high and self.radius > 0 and self.offset > 0):
            raise ValueError(
                "radius and offset should be above zero and size rise from above zero, but they "
                f"are {self.radius}, {self.offset} and {self.size}."
            )

    @property
    def domain(self) -> Domain:
        return RigidPose()

    @property
    def shape(self) -> tuple[int, ...]:
        return (4, 4)

    def given(self, lens: Lens) -> "PoseInView":
        if lens.bends:
            raise ValueError(
                "poses in view need a pinhole but the lens is distorted; straighten the images."
            )
        return replace(self, lens=lens)

    def sample(
        self, count: int, generator: torch.Generator | None = None
    ) -> Float[Tensor, "count 4 4"]:
        rotation = self.rotation.sample(count, generator)
        share = torch.rand(count, generator=generator)
        low, high = self.size
        size = low * (high / low) ** share
        offset = self.offset * (2 * torch.rand(count, 2, generator=generator) - 1)
        return transforms.pose(rotation, self.place(size, offset))

    def place(
        self, size: Float[Tensor, "*#batch"], offset: Float[Tensor, "*#batch 2"]
    ) -> Float[Tensor, "*batch 3"]:
        """The origin, camera frame, from apparent size and offset as shares of a side."""
        lens, side, middle = self._image()
        depth = 2 * self.radius * lens.focal.mean(-1) / (side * size)
        slope = (middle + side * offset - lens.principal) / lens.focal
        slope, depth = torch.broadcast_tensors(slope, depth[..., None])
        return depth[..., :1] * torch.cat([slope, torch.ones_like(slope[..., :1])], -1)

    def log_prob(self, value: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch"]:
        lens, side, middle = self._image()
        origin, depth = value[..., :3, 3], value[..., 2, 3]
        pixel = lens.principal + lens.focal * origin[..., :2] / depth[..., None]
        offset = (pixel - middle).abs().amax(-1) / side
        size = 2 * self.radius * lens.focal.mean(-1) / (side * depth)
        low, high = self.size
        # Volume dx dy dz = depth^2 / (fx fy) du dv dz, and the logarithm of depth is uniform.
        log = lens.focal.log().sum(-1) - 3 * depth.clamp_min(1e-30).log()
        log = log - 2 * math.log(2 * self.offset * side) - math.log(math.log(high / low))
        near = (depth > 0) & (offset <= self.offset) & (size >= low) & (size <= high)
        return torch.where(near, log + self.rotation.log_prob(value[..., :3, :3]), -math.inf)

    def _image(self) -> tuple[Lens, int, Tensor]:
        if self.lens is None:
            raise ValueError("poses in view need the lens of the images; call given(lens) first.")
        lens = self.lens
        middle = lens.principal.new_tensor([lens.width / 2, lens.height / 2])
        return lens, min(lens.height, lens.width), middle


def _about(axis: int, angle: Float[Tensor, " n"]) -> Float[Tensor, "n 3 3"]:
    """Rotations about a coordinate axis."""
    return transforms.exp_so3(angle[:, None] * torch.eye(3)[axis])
