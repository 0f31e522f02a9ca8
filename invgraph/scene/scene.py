"""What is seen: objects, their materials, the lights, the background."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.geometry.mesh import Mesh
from invgraph.geometry.tensor_tree import map_tensors
from invgraph.scene.lights import EnvironmentMap, Light
from invgraph.scene.material import Material


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
