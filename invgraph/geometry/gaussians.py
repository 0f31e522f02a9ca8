"""Clouds of 3D Gaussians: translucent geometry without a surface."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.geometry.tensor_tree import map_tensors
from invgraph.geometry.transforms import matrix_from_quat_wxyz


@dataclass(frozen=True, eq=False)
class Gaussians:
    """Ellipsoids that fade outwards.

    Attributes:
        means: their centres, object frame.
        quat_wxyz: rotation from the axes of each ellipsoid to the object frame; any length but 0.
        scales: standard deviations along the axes, positive.
        opacity: of each centre, seen alone, in [0, 1].

    Raises:
        ValueError: shapes do not fit together.

    Source:
        Kerbl et al., 3D Gaussian splatting for real-time radiance field rendering (2023).
    """

    means: Float[Tensor, "*#batch g 3"]
    quat_wxyz: Float[Tensor, "*#batch g 4"]
    scales: Float[Tensor, "*#batch g 3"]
    opacity: Float[Tensor, "*#batch g"]

    def own_axes(self) -> dict[str, int]:
        """How many axes of each tensor are not the batch's."""
        return {"means": 2, "quat_wxyz": 2, "scales": 2, "opacity": 1}

    def __post_init__(self) -> None:
        count = self.opacity.shape[-1] if self.opacity.ndim else None
        for name, size in (("means", 3), ("quat_wxyz", 4), ("scales", 3)):
            tensor = getattr(self, name)
            if tensor.ndim < 2 or tuple(tensor.shape[-2:]) != (count, size):
                raise ValueError(
                    f"{name} should be (*batch, {count}, {size}), as opacity has {count} values, "
                    f"but has shape {tuple(tensor.shape)}."
                )

    @property
    def covariances(self) -> Float[Tensor, "*batch g 3 3"]:
        """Of each Gaussian, object frame.

        Gradients:
            Reach ``quat_wxyz`` and ``scales``.
        """
        axes = matrix_from_quat_wxyz(self.quat_wxyz) * self.scales[..., None, :]
        return axes @ axes.mT

    def to(self, target: torch.device | str) -> "Gaussians":
        """The same cloud on another device."""
        return map_tensors(lambda tensor: tensor.to(target), self)
