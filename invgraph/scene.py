"""What is seen: objects, their materials, the lights, the background."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.mesh import Mesh
from invgraph.tree import map_tensors

Frame = Literal["world", "camera"]


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


@dataclass(frozen=True, eq=False)
class Object:
    """A mesh somewhere in the world, made of something.

    Attributes:
        mesh: geometry, object frame.
        world_from_object: rigid pose.
        material: constants, per-vertex values or textures for ``mesh``.
        visibility: per vertex, the fraction of light that arrives from each of d directions fixed
            in the object frame; None when nothing is occluded.

    Raises:
        ValueError: material or visibility do not fit the mesh.
    """

    mesh: Mesh
    world_from_object: Float[Tensor, "*batch 4 4"]
    material: Material
    visibility: Float[Tensor, "v d"] | None = None

    def __post_init__(self) -> None:
        if tuple(self.world_from_object.shape[-2:]) != (4, 4):
            raise ValueError(
                "world_from_object should be (*batch, 4, 4) but has shape "
                f"{tuple(self.world_from_object.shape)}."
            )
        count = self.mesh.vertices.shape[-2]
        per_vertex = {"visibility": self.visibility}
        for name in ("albedo", "roughness", "metallic"):
            tensor = getattr(self.material, name)
            per_vertex[name] = tensor if tensor.ndim == 2 else None
            if tensor.ndim == 3 and self.mesh.uv is None:
                raise ValueError(f"{name} is a texture but the mesh has no uv; unwrap it first.")
        for name, tensor in per_vertex.items():
            if tensor is not None and tensor.shape[0] != count:
                raise ValueError(
                    f"{name} has {tensor.shape[0]} rows but the mesh has {count} vertices."
                )


def _check_frame(frame: str) -> None:
    if frame not in ("world", "camera"):
        raise ValueError(f"a light's frame should be 'world' or 'camera' but is {frame!r}.")


def _check_last(name: str, tensor: Tensor, size: int) -> None:
    if tensor.ndim < 1 or tensor.shape[-1] != size:
        raise ValueError(f"{name} should end in {size} but has shape {tuple(tensor.shape)}.")


@dataclass(frozen=True, eq=False)
class SphericalHarmonicLight:
    """Distant light from all around as a smooth function of direction.

    Attributes:
        coefficients: radiance L(w) = sum c_lm Y_lm(w) in real orthonormal spherical harmonics,
            with row l * l + l + m; 1, 4, 9, 16 or 25 rows for order 0 to 4; RGB.
        frame: "world", or "camera" for light that moves with the camera (turntables).
    """

    coefficients: Float[Tensor, "*batch k 3"]
    frame: Frame = "world"

    def __post_init__(self) -> None:
        _check_frame(self.frame)
        shape = tuple(self.coefficients.shape)
        if len(shape) < 2 or shape[-1] != 3 or shape[-2] not in (1, 4, 9, 16, 25):
            raise ValueError(
                "coefficients should be (*batch, k, 3) with k one of 1, 4, 9, 16, 25 but have "
                f"shape {shape}."
            )


@dataclass(frozen=True, eq=False)
class DirectionalLight:
    """Parallel light, like the sun's.

    Attributes:
        direction: the way the light travels; any length but zero.
        irradiance: linear RGB on a surface that faces the light.
        frame: the frame of ``direction``.
    """

    direction: Float[Tensor, "*batch 3"]
    irradiance: Float[Tensor, "*batch 3"]
    frame: Frame = "world"

    def __post_init__(self) -> None:
        _check_frame(self.frame)
        _check_last("direction", self.direction, 3)
        _check_last("irradiance", self.irradiance, 3)


@dataclass(frozen=True, eq=False)
class PointLight:
    """A small lamp that shines equally in all directions.

    Attributes:
        position: where it is.
        intensity: linear RGB power per solid angle; irradiance is intensity / distance^2.
        frame: the frame of ``position``.
    """

    position: Float[Tensor, "*batch 3"]
    intensity: Float[Tensor, "*batch 3"]
    frame: Frame = "world"

    def __post_init__(self) -> None:
        _check_frame(self.frame)
        _check_last("position", self.position, 3)
        _check_last("intensity", self.intensity, 3)


@dataclass(frozen=True, eq=False)
class EnvironmentMap:
    """Distant light from all around as a panorama.

    A direction (x, y, z) looks up u = atan2(x, -z) / (2 pi) modulo 1 and v = acos(y) / pi: the top
    row is +y, the left edge is towards -z, a quarter to the right is +x, the middle is +z. This is
    Mitsuba's layout.

    Attributes:
        radiance: equirectangular linear RGB; pixel centres at half integers.
        frame: "world", or "camera" for light that moves with the camera.
    """

    radiance: Float[Tensor, "h w 3"]
    frame: Frame = "world"

    def __post_init__(self) -> None:
        _check_frame(self.frame)
        if self.radiance.ndim != 3:
            raise ValueError(
                f"radiance should be (h, w, 3) but has shape {tuple(self.radiance.shape)}."
            )
        _check_last("radiance", self.radiance, 3)


Light = SphericalHarmonicLight | DirectionalLight | PointLight | EnvironmentMap


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything that decides an image, but for the camera.

    Attributes:
        objects: what is in front.
        lights: their effects add up.
        background: what is behind: a colour ``(3,)``, an image ``(h, w, 3)`` of the camera's size,
            a panorama that is seen but does not light the objects (list it in ``lights`` too if it
            should), or None for black.
    """

    objects: tuple[Object, ...]
    lights: tuple[Light, ...] = ()
    background: Tensor | EnvironmentMap | None = None

    def __post_init__(self) -> None:
        behind = self.background
        if isinstance(behind, Tensor) and (behind.ndim not in (1, 3) or behind.shape[-1] != 3):
            raise ValueError(
                "background should be a colour (3,) or an image (h, w, 3) but has shape "
                f"{tuple(behind.shape)}."
            )

    def to(self, target: torch.device | str) -> "Scene":
        """The same scene on another device."""
        return map_tensors(lambda tensor: tensor.to(target), self)
