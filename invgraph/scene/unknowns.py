"""Unknowns: which tensors of a scene are free, as one vector of numbers without bounds."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.geometry.tensor_tree import get, replaced
from invgraph.scene.domains import Domain

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Unknown:
    """A named tensor that is free, with the values that it may take.

    Attributes:
        path: where it lies, as in :mod:`invgraph.geometry.tensor_tree`.
        domain: the values that it may take.
        shape: of the tensor without batch axes.
        around: its value at coordinates zero, with any batch axes; None for the domain's origin.
    """

    path: str
    domain: Domain
    shape: tuple[int, ...]
    around: Tensor | None = None

    @property
    def coordinates_shape(self) -> tuple[int, ...]:
        """The shape of its coordinates without batch axes."""
        return self.domain.coordinates_shape(self.shape)

    @property
    def size(self) -> int:
        """How many coordinates it has."""
        return torch.Size(self.coordinates_shape).numel()

    def value(self, coordinates: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The tensor at coordinates ``(*batch, *coordinates_shape)``; gradients reach them."""
        return self.domain.retract(coordinates, self.around)

    def coordinates(self, value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The coordinates of a tensor ``(*batch, *shape)``; undoes :meth:`value`.

        Raises:
            ValueError: it has another shape, or values that are none of the domain's.
        """
        self.check(value)
        return self.domain.local(value, self.around)

    def log_volume(self, coordinates: Float[Tensor, "..."]) -> Float[Tensor, "*batch"]:
        """Logarithm of the volume of values per volume of coordinates, as of :class:`Domain`."""
        each = self.domain.log_volume(coordinates, self.around)
        inner = len(self.shape) - self.domain.event_dim
        return each.flatten(each.ndim - inner).sum(-1) if inner else each

    def check(self, value: Tensor) -> None:
        """Refuse what this unknown cannot be.

        Raises:
            ValueError: it has another shape, or values that are none of the domain's.
        """
        if not value.is_floating_point():
            fault = f"of floating point but is {value.dtype}"
        elif tuple(value.shape[max(value.ndim - len(self.shape), 0) :]) != self.shape:
            expected = ", ".join(map(str, ("*batch", *self.shape)))
            fault = f"({expected}) but has shape {tuple(value.shape)}"
        else:
            fault = self.domain.fault(value)
        if fault is not None:
            raise ValueError(f"{self.path} should be {fault}; change it or its domain.")


@dataclass(frozen=True, eq=False)
class Unknowns:
    """Some tensors of a scene that are free, in a fixed order.

    All other tensors are known: they come from the scene that a method is given. Anything that
    :mod:`invgraph.geometry.tensor_tree` can walk over may stand in the scene's place.

    Attributes:
        items: the unknowns.
    """

    items: tuple[Unknown, ...]

    @staticmethod
    def of(scene: object, domains: Mapping[str, Domain]) -> "Unknowns":
        """The unknowns at some paths; coordinates on curved domains are around the scene's values.

        Args:
            scene: gives their shapes; all its axes are the tensors' own, none is a batch axis.
            domains: path to domain, in the order of the coordinates.

        Raises:
            ValueError: nothing is free, there is no tensor at a path, or its values are none of
                the domain's.
        """
        if not domains:
            raise ValueError("unknowns need at least one path; name what is free.")
        items = []
        for path, domain in domains.items():
            value = get(scene, path)
            around = value.detach() if domain.curved else None
            unknown = Unknown(path, domain, tuple(value.shape), around)
            unknown.check(value)
            items.append(unknown)
        return Unknowns(tuple(items))

    def around(self, scene: object) -> "Unknowns":
        """The same unknowns with coordinates that are zero at the values of ``scene``.

        Their coordinates are tangents: ``around(a).placed(a, tangent)`` is a retraction and
        ``around(a).coordinates(b)`` its inverse.

        Args:
            scene: with any batch axes.

        Raises:
            ValueError: values of the scene are none of their domains'.
        """
        items = []
        for unknown in self.items:
            value = get(scene, unknown.path)
            unknown.check(value)
            items.append(replace(unknown, around=value))
        return Unknowns(tuple(items))

    def __iter__(self) -> Iterator[Unknown]:
        return iter(self.items)

    @property
    def size(self) -> int:
        """How many coordinates there are."""
        return sum(unknown.size for unknown in self.items)

    @property
    def slices(self) -> dict[str, slice]:
        """Where the coordinates of each path lie."""
        found, start = {}, 0
        for unknown in self.items:
            found[unknown.path] = slice(start, start + unknown.size)
            start += unknown.size
        return found

    def coordinates(self, scene: object) -> Float[Tensor, "*batch n"]:
        """The coordinates of the scene's values as one vector; batch axes broadcast.

        Raises:
            ValueError: values of the scene are none of their domains'.
        """
        parts = []
        for unknown in self.items:
            part = unknown.coordinates(get(scene, unknown.path))
            own = len(unknown.coordinates_shape)
            parts.append(part.reshape(*part.shape[: part.ndim - own], unknown.size))
        batch = torch.broadcast_shapes(*(part.shape[:-1] for part in parts))
        return torch.cat([part.expand(*batch, -1) for part in parts], -1)

    def values(self, coordinates: Float[Tensor, "*batch n"]) -> dict[str, Tensor]:
        """The tensors at these coordinates by path; gradients reach the coordinates.

        Raises:
            ValueError: there are more or fewer coordinates than :attr:`size`.
        """
        return {
            unknown.path: unknown.value(part)
            for unknown, part in zip(self.items, self._parts(coordinates), strict=True)
        }

    def placed(self, scene: T, coordinates: Float[Tensor, "*batch n"]) -> T:
        """The scene with the values at these coordinates; its other tensors stay.

        Raises:
            ValueError: there are more or fewer coordinates than :attr:`size`.
        """
        return replaced(scene, self.values(coordinates))

    def log_volume(self, coordinates: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch"]:
        """Logarithm of the volume of values per volume of coordinates.

        A density over coordinates becomes one over values by ``log p - log_volume``, and the
        reverse by ``log p + log_volume``.

        Raises:
            ValueError: there are more or fewer coordinates than :attr:`size`.
        """
        total = torch.zeros_like(coordinates[..., 0])
        for unknown, part in zip(self.items, self._parts(coordinates), strict=True):
            total = total + unknown.log_volume(part)
        return total

    def _parts(self, coordinates: Tensor) -> list[Tensor]:
        if coordinates.shape[-1:] != (self.size,):
            raise ValueError(
                f"coordinates should be (*batch, {self.size}) but have shape "
                f"{tuple(coordinates.shape)}; make them with the same unknowns."
            )
        parts = coordinates.split([unknown.size for unknown in self.items], -1)
        batch = coordinates.shape[:-1]
        return [
            part.reshape(*batch, *unknown.coordinates_shape)
            for unknown, part in zip(self.items, parts, strict=True)
        ]
