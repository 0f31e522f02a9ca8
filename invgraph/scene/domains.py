"""Where a tensor of a scene may move, and coordinates without bounds for it."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.geometry import sphere, transforms

_RIGID = 1e-3  # how far a matrix may be from a rotation and still count as one


class Domain(ABC):
    """A set of values with coordinates that take every real number.

    Coordinates count from a value, ``around``, that has coordinates zero, or from the domain's own
    origin. A value has ``event_dim`` axes of its own, and so have its coordinates but that a matrix
    becomes a vector; axes before them are batch axes and broadcast.

    Names are those of GTSAM's manifolds and of torch's constraints.

    Attributes:
        event_dim: axes that one value has: 0 for a number, 1 for a vector, 2 for a matrix.
        curved: whether coordinates far from ``around`` meet each other, so that it should be near
            the values that are meant.
    """

    event_dim: ClassVar[int] = 0
    curved: ClassVar[bool] = False

    @abstractmethod
    def retract(self, coordinates: Tensor, around: Tensor | None = None) -> Tensor:
        """The values at these coordinates; gradients reach both tensors and stay finite."""

    @abstractmethod
    def local(self, value: Tensor, around: Tensor | None = None) -> Tensor:
        """The coordinates of values; undoes :meth:`retract`."""

    @abstractmethod
    def log_volume(self, coordinates: Tensor, around: Tensor | None = None) -> Tensor:
        """Logarithm of the volume of values per volume of coordinates, one number per value.

        So ``log p(value) = log p(coordinates) - log_volume``. The volume of values is the usual
        one: lengths, areas on the unit sphere, Haar's measure with 8 pi^2 for all rotations.
        """

    @abstractmethod
    def fault(self, value: Tensor) -> str | None:
        """What is expected of values where these are something else, and what they are."""

    def coordinates_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the coordinates of values of this shape."""
        return shape


class _PerNumber(Domain):
    """Every number on its own, through an increasing function."""

    @abstractmethod
    def _value(self, coordinates: Tensor) -> Tensor: ...

    @abstractmethod
    def _coordinates(self, value: Tensor) -> Tensor: ...

    @abstractmethod
    def _log_slope(self, coordinates: Tensor) -> Tensor: ...

    def retract(self, coordinates: Tensor, around: Tensor | None = None) -> Tensor:
        return self._value(self._from_origin(coordinates, around))

    def local(self, value: Tensor, around: Tensor | None = None) -> Tensor:
        coordinates = self._coordinates(value)
        return coordinates if around is None else coordinates - self._coordinates(around)

    def log_volume(self, coordinates: Tensor, around: Tensor | None = None) -> Tensor:
        return self._log_slope(self._from_origin(coordinates, around))

    def _from_origin(self, coordinates: Tensor, around: Tensor | None) -> Tensor:
        return coordinates if around is None else self._coordinates(around) + coordinates


@dataclass(frozen=True)
class Free(_PerNumber):
    """Any number; it is its own coordinate."""

    def _value(self, coordinates: Tensor) -> Tensor:
        return coordinates

    def _coordinates(self, value: Tensor) -> Tensor:
        return value

    def _log_slope(self, coordinates: Tensor) -> Tensor:
        return torch.zeros_like(coordinates)

    def fault(self, value: Tensor) -> str | None:
        return _out_of_range(value, "finite", value.isfinite())


@dataclass(frozen=True)
class Positive(_PerNumber):
    """Numbers above zero; the coordinate is the logarithm, the origin 1.

    Values that leave the range of the dtype stay at its end, with gradient zero.
    """

    def _value(self, coordinates: Tensor) -> Tensor:
        return self._inside(coordinates).exp()

    def _coordinates(self, value: Tensor) -> Tensor:
        return value.clamp_min(torch.finfo(value.dtype).tiny).log()

    def _log_slope(self, coordinates: Tensor) -> Tensor:
        return self._inside(coordinates)

    @staticmethod
    def _inside(coordinates: Tensor) -> Tensor:
        limits = torch.finfo(coordinates.dtype)
        return coordinates.clamp(math.log(limits.tiny), math.log(limits.max) * (1 - limits.eps))

    def fault(self, value: Tensor) -> str | None:
        return _out_of_range(value, "positive", (value > 0) & value.isfinite())


@dataclass(frozen=True)
class UnitInterval(_PerNumber):
    """Numbers from 0 to 1; the coordinate is the logit, the origin 1/2.

    The ends themselves have the coordinates of the numbers one rounding error inside.
    """

    def _value(self, coordinates: Tensor) -> Tensor:
        return coordinates.sigmoid()

    def _coordinates(self, value: Tensor) -> Tensor:
        return torch.logit(value, torch.finfo(value.dtype).eps)

    def _log_slope(self, coordinates: Tensor) -> Tensor:
        logsigmoid = torch.nn.functional.logsigmoid
        return logsigmoid(coordinates) + logsigmoid(-coordinates)

    def fault(self, value: Tensor) -> str | None:
        return _out_of_range(value, "between 0 and 1", (value >= 0) & (value <= 1))


@dataclass(frozen=True)
class Interval(_PerNumber):
    """Numbers between two bounds; the coordinate is the logit of the way from one to the other.

    Raises:
        ValueError: the bounds are not finite numbers, the lower one first.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.high - self.low < float("inf"):
            raise ValueError(
                f"an interval should have low below high, both finite, but has {self.low} and "
                f"{self.high}; change them."
            )

    def _value(self, coordinates: Tensor) -> Tensor:
        low, high = coordinates.new_tensor([self.low, self.high])
        return torch.lerp(low, high, coordinates.sigmoid())

    def _coordinates(self, value: Tensor) -> Tensor:
        share = (value - self.low) / (self.high - self.low)
        return torch.logit(share, torch.finfo(value.dtype).eps)

    def _log_slope(self, coordinates: Tensor) -> Tensor:
        return UnitInterval()._log_slope(coordinates) + math.log(self.high - self.low)

    def fault(self, value: Tensor) -> str | None:
        expected = f"between {self.low} and {self.high}"
        return _out_of_range(value, expected, (value >= self.low) & (value <= self.high))


@dataclass(frozen=True)
class Direction(Domain):
    """Directions as unit vectors; coordinates lie in the tangent plane of the sphere, radians.

    The origin is the z axis. Vectors of other lengths stand for their directions.

    Source:
        The axes of the plane are those of :func:`invgraph.geometry.sphere.tangent_basis`.
    """

    event_dim: ClassVar[int] = 1
    curved: ClassVar[bool] = True

    def retract(
        self,
        coordinates: Float[Tensor, "*#batch 2"],
        around: Float[Tensor, "*#batch 3"] | None = None,
    ) -> Float[Tensor, "*batch 3"]:
        return sphere.exp_s2(self._around(around, coordinates), coordinates)

    def local(
        self, value: Float[Tensor, "*#batch 3"], around: Float[Tensor, "*#batch 3"] | None = None
    ) -> Float[Tensor, "*batch 2"]:
        return sphere.log_s2(self._around(around, value), _unit(value))

    def log_volume(
        self,
        coordinates: Float[Tensor, "*#batch 2"],
        around: Float[Tensor, "*#batch 3"] | None = None,
    ) -> Float[Tensor, "*batch"]:
        return sphere.log_volume_s2(coordinates)

    @staticmethod
    def _around(around: Tensor | None, like: Tensor) -> Tensor:
        return _axis_z(like) if around is None else _unit(around)

    def fault(self, value: Tensor) -> str | None:
        if value.ndim < 1 or value.shape[-1] != 3:
            return f"vectors (*batch, 3) but has shape {tuple(value.shape)}"
        length = value.norm(dim=-1)
        if bool((length.isfinite() & (length > 0)).all()):
            return None
        return "vectors of finite length above zero but holds others"

    def coordinates_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:-1], 2)


@dataclass(frozen=True)
class Rotation(Domain):
    """Rotation matrices; ``exp(coordinates) around``, radians; the origin is the identity."""

    event_dim: ClassVar[int] = 2
    curved: ClassVar[bool] = True

    def retract(
        self,
        coordinates: Float[Tensor, "*#batch 3"],
        around: Float[Tensor, "*#batch 3 3"] | None = None,
    ) -> Float[Tensor, "*batch 3 3"]:
        turn = transforms.exp_so3(coordinates)
        return turn if around is None else turn @ around

    def local(
        self,
        value: Float[Tensor, "*#batch 3 3"],
        around: Float[Tensor, "*#batch 3 3"] | None = None,
    ) -> Float[Tensor, "*batch 3"]:
        return transforms.log_so3(value if around is None else value @ around.mT)

    def log_volume(
        self,
        coordinates: Float[Tensor, "*#batch 3"],
        around: Float[Tensor, "*#batch 3 3"] | None = None,
    ) -> Float[Tensor, "*batch"]:
        return transforms.log_volume_so3(coordinates)

    def fault(self, value: Tensor) -> str | None:
        if value.ndim < 2 or tuple(value.shape[-2:]) != (3, 3):
            return f"rotations (*batch, 3, 3) but has shape {tuple(value.shape)}"
        return _not_rigid(value)

    def coordinates_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:-2], 3)


@dataclass(frozen=True)
class RigidPose(Domain):
    """Rigid motions as 4x4 matrices; the origin is the identity.

    Coordinates ``(rho, phi)`` around ``(R, t)`` mean ``t + rho`` and ``exp(phi) R``, as in
    :func:`invgraph.geometry.transforms.perturb`. Volume is metres cubed times Haar's measure.
    """

    event_dim: ClassVar[int] = 2
    curved: ClassVar[bool] = True

    def retract(
        self,
        coordinates: Float[Tensor, "*#batch 6"],
        around: Float[Tensor, "*#batch 4 4"] | None = None,
    ) -> Float[Tensor, "*batch 4 4"]:
        return transforms.perturb(_eye(4, coordinates) if around is None else around, coordinates)

    def local(
        self,
        value: Float[Tensor, "*#batch 4 4"],
        around: Float[Tensor, "*#batch 4 4"] | None = None,
    ) -> Float[Tensor, "*batch 6"]:
        return transforms.difference(_eye(4, value) if around is None else around, value)

    def log_volume(
        self,
        coordinates: Float[Tensor, "*#batch 6"],
        around: Float[Tensor, "*#batch 4 4"] | None = None,
    ) -> Float[Tensor, "*batch"]:
        return transforms.log_volume_so3(coordinates[..., 3:])

    def fault(self, value: Tensor) -> str | None:
        if value.ndim < 2 or tuple(value.shape[-2:]) != (4, 4):
            return f"rigid motions (*batch, 4, 4) but has shape {tuple(value.shape)}"
        if not torch.equal(value[..., 3, :], _eye(4, value)[3].expand_as(value[..., 3, :])):
            return "rigid motions but has a last row other than 0, 0, 0, 1"
        return _not_rigid(value[..., :3, :3])

    def coordinates_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:-2], 6)


def _axis_z(like: Tensor) -> Tensor:
    return torch.tensor([0.0, 0.0, 1.0], dtype=like.dtype, device=like.device)


def _eye(size: int, like: Tensor) -> Tensor:
    return torch.eye(size, dtype=like.dtype, device=like.device)


def _unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=-1, keepdim=True)


def _out_of_range(value: Tensor, expected: str, good: Tensor) -> str | None:
    if bool(good.all()):
        return None
    return f"{expected} but holds {float(value.detach()[~good][0]):g}"


def _not_rigid(rotation: Tensor) -> str | None:
    away = (rotation @ rotation.mT - _eye(3, rotation)).detach().abs()
    error = float(away.max()) if away.numel() else 0.0
    if not error <= _RIGID:
        return f"rotations but R R^T is {error:.2g} from the identity"
    if bool((torch.linalg.det(rotation.detach()) < 0).any()):
        return "rotations but mirrors"
    return None
