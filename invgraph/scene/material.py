"""How a surface answers to light."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Material:
    """How a surface answers to light: glTF's metallic-roughness model, dielectric F0 = 0.04.

    Each tensor is constant ``(c,)``, per vertex ``(v, c)`` or a texture ``(h, w, c)`` over the
    mesh's uv, independently of the others.

    Attributes:
        albedo: linear RGB base colour in [0, 1]; c = 3.
        roughness: perceptual, in [0, 1]; GGX's alpha is its square; c = 1.
        metallic: 0 dielectric to 1 metal; c = 1.

    Raises:
        ValueError: a tensor has another number of axes or channels.
    """

    albedo: Tensor
    roughness: Tensor
    metallic: Tensor

    def __post_init__(self) -> None:
        for name, channels in (("albedo", 3), ("roughness", 1), ("metallic", 1)):
            tensor = getattr(self, name)
            if tensor.ndim not in (1, 2, 3) or tensor.shape[-1] != channels:
                raise ValueError(
                    f"{name} should be constant ({channels},), per vertex (v, {channels}) or a "
                    f"texture (h, w, {channels}) but has shape {tuple(tensor.shape)}."
                )
