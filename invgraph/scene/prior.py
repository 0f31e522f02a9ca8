"""A scene with unknowns: which of its tensors are free, and what is likely of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.geometry.lens import Lens
from invgraph.geometry.tensor_tree import get, replaced
from invgraph.scene.distributions import Distribution
from invgraph.scene.scene import Scene
from invgraph.scene.unknowns import Unknown, Unknowns


@dataclass(frozen=True, eq=False)
class Prior:
    """A distribution over scenes: some tensors are free, each on its own; the others are known.

    Attributes:
        template: gives the known tensors, and a place for those that are free.
        distributions: path of a tensor, as in :mod:`invgraph.geometry.tensor_tree`, to what is
            likely there.

    Raises:
        ValueError: nothing is free, there is no tensor at a path, or it has another shape than its
            distribution.
    """

    template: Scene
    distributions: Mapping[str, Distribution]

    def __post_init__(self) -> None:
        if not self.distributions:
            raise ValueError("a prior needs at least one distribution; say what is not known.")
        for path, distribution in self.distributions.items():
            shape = tuple(get(self.template, path).shape)
            if shape != distribution.shape:
                raise ValueError(
                    f"{path} has shape {shape} in the scene but {distribution.shape} in its "
                    "distribution; change one of them."
                )

    @property
    def unknowns(self) -> Unknowns:
        """The free tensors that have coordinates, around their domains' origins."""
        return Unknowns(
            tuple(
                Unknown(path, distribution.domain, distribution.shape)
                for path, distribution in self.distributions.items()
                if distribution.domain is not None
            )
        )

    def given(self, lens: Lens) -> "Prior":
        """The prior of images taken through a lens, one or one per scene.

        Raises:
            ValueError: a distribution cannot be told for such a lens.
        """
        return replace(
            self, distributions={path: d.given(lens) for path, d in self.distributions.items()}
        )

    def sample(self, count: int, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Values of the free tensors, ``(count, *shape)`` each, by path."""
        return {path: d.sample(count, generator) for path, d in self.distributions.items()}

    def scene(self, values: Mapping[str, Tensor]) -> Scene:
        """The scenes, as one with batch axes, in which free tensors have these values.

        Gradients:
            Reach every value.

        Raises:
            ValueError: a path is not free.
        """
        for path in values:
            if path not in self.distributions:
                free = ", ".join(self.distributions)
                raise ValueError(f"{path} is not free in this prior; these are: {free}.")
        return replaced(self.template, values)

    def log_prob(self, values: Mapping[str, Tensor]) -> Float[Tensor, "*batch"]:
        """Logarithm of the density of values of all free tensors together.

        Raises:
            ValueError: values are missing.
        """
        missing = [path for path in self.distributions if path not in values]
        if missing:
            raise ValueError(f"the values of {', '.join(missing)} are missing; give all of them.")
        total = torch.zeros(())
        for path, distribution in self.distributions.items():
            total = total + distribution.log_prob(values[path])
        return total
