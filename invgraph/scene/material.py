"""How a surface answers to light."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

ParameterKind = Literal["constant", "vertex", "face", "texture"]
KINDS: tuple[ParameterKind, ...] = get_args(ParameterKind)
CHANNELS = {"albedo": 3, "roughness": 1, "metallic": 1}
# Axes besides the batch's, and what they are.
_AXES: dict[ParameterKind, tuple[str, ...]] = {
    "constant": (),
    "vertex": ("v",),
    "face": ("f",),
    "texture": ("h", "w"),
}


@dataclass(frozen=True, eq=False)
class Material:
    """How a surface answers to light: glTF's metallic-roughness model, dielectric F0 = 0.04.

    Each parameter is of a kind, independently of the others: "constant" ``(*batch, c)``, per
    "vertex" ``(*batch, v, c)``, per "face" ``(*batch, f, c)`` or a "texture" ``(*batch, h, w, c)``
    over the mesh's uv.

    Attributes:
        albedo: linear RGB base colour in [0, 1]; c = 3.
        roughness: perceptual, in [0, 1]; GGX's alpha is its square; c = 1.
        metallic: 0 dielectric to 1 metal; c = 1.
        albedo_kind: what ``albedo`` is given for.
        roughness_kind: what ``roughness`` is given for.
        metallic_kind: what ``metallic`` is given for.
        unlit: the surface does not answer to light at all, its albedo is the radiance that leaves
            it: for colours that hold their light (glTF's KHR_materials_unlit).

    Raises:
        ValueError: an unknown kind, or a tensor of too few axes or other channels.
    """

    albedo: Tensor
    roughness: Tensor
    metallic: Tensor
    albedo_kind: ParameterKind = "constant"
    roughness_kind: ParameterKind = "constant"
    metallic_kind: ParameterKind = "constant"
    unlit: bool = False

    def __post_init__(self) -> None:
        for name, channels in CHANNELS.items():
            kind, tensor = self.kind(name), getattr(self, name)
            if kind not in KINDS:
                raise ValueError(
                    f"{name}_kind should be one of {', '.join(KINDS)} but is {kind!r:.40}."
                )
            axes = (*_AXES[kind], str(channels))
            if tensor.ndim < len(axes) or tensor.shape[-1] != channels:
                raise ValueError(
                    f"{name} of kind {kind} should be (*batch, {', '.join(axes)}) but has shape "
                    f"{tuple(tensor.shape)}."
                )

    def kind(self, name: str) -> ParameterKind:
        """Of the parameter of that name."""
        return getattr(self, f"{name}_kind")

    @property
    def textured(self) -> bool:
        """Whether any parameter is a texture."""
        return any(self.kind(name) == "texture" for name in CHANNELS)

    def own_axes(self) -> dict[str, int]:
        """How many axes of each tensor are not the batch's."""
        return {name: len(_AXES[self.kind(name)]) + 1 for name in CHANNELS}


def unlit(color: Tensor, kind: ParameterKind = "constant") -> Material:
    """The material of a surface whose colours hold their light.

    Args:
        color: linear RGB that leaves the surface, as ``Material.albedo``.
        kind: what it is given for.
    """
    one = torch.ones(1, dtype=color.dtype, device=color.device)
    return Material(color, one, torch.zeros_like(one), albedo_kind=kind, unlit=True)
