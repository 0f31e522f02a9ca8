"""What is seen: objects, their materials, the lights, the background."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from invgraph.geometry.gaussians import Gaussians
from invgraph.geometry.mesh import Mesh
from invgraph.geometry.tensor_tree import map_tensors
from invgraph.scene.lights import EnvironmentMap, Light
from invgraph.scene.material import CHANNELS, Material


@dataclass(frozen=True, eq=False)
class Object:
    """Something somewhere in the world.

    Attributes:
        geometry: a mesh, which is opaque, or Gaussians, which are translucent; object frame.
        world_from_object: rigid pose.
        material: what it is made of; "vertex" means per Gaussian where there are no vertices.
        visibility: per vertex, the fraction of light that arrives from each of d directions fixed
            in the object frame; None when nothing is occluded.
        tint: linear RGB that the albedo is multiplied by; None for 1.
        present: whether the object is there, for items of a batch that lack it or hold another one
            in its place; None when it always is.

    Raises:
        ValueError: material or visibility do not fit the geometry.
    """

    geometry: Mesh | Gaussians
    world_from_object: Float[Tensor, "*#batch 4 4"]
    material: Material
    visibility: Float[Tensor, "v d"] | None = None
    tint: Float[Tensor, "*#batch 3"] | None = None
    present: Bool[Tensor, "*#batch"] | None = None

    @property
    def mesh(self) -> Mesh:
        """The geometry, for what needs triangles.

        Raises:
            ValueError: it is of another kind.
        """
        if not isinstance(self.geometry, Mesh):
            kind = type(self.geometry).__name__
            raise ValueError(f"expected an object that is a mesh but its geometry is {kind}.")
        return self.geometry

    def own_axes(self) -> dict[str, int]:
        """How many axes of each tensor are not the batch's."""
        return {"world_from_object": 2, "tint": 1, "present": 0}

    def __post_init__(self) -> None:
        if tuple(self.world_from_object.shape[-2:]) != (4, 4):
            raise ValueError(
                "world_from_object should be (*batch, 4, 4) but has shape "
                f"{tuple(self.world_from_object.shape)}."
            )
        if self.tint is not None and self.tint.shape[-1:] != (3,):
            raise ValueError(f"tint should be (*batch, 3) but has shape {tuple(self.tint.shape)}.")
        if self.present is not None and self.present.dtype != torch.bool:
            raise ValueError(f"present should be true or false but is {self.present.dtype}.")
        if isinstance(self.geometry, Mesh):
            counts = {"vertex": self.geometry.vertices.shape[-2], "face": len(self.geometry.faces)}
            words, what = {"vertex": "vertices", "face": "faces"}, "mesh"
        else:
            counts = {"vertex": self.geometry.opacity.shape[-1], "face": 0}
            words, what = {"vertex": "Gaussians", "face": "faces"}, "cloud"
        if self.visibility is not None and self.visibility.ndim != 2:
            raise ValueError(
                f"visibility should be (v, d) but has shape {tuple(self.visibility.shape)}."
            )
        made_of = self.material
        rows = [(name, made_of.kind(name), getattr(made_of, name)) for name in CHANNELS]
        rows.append(("visibility", "vertex", self.visibility))
        for name, kind, tensor in rows:
            if kind in counts and tensor is not None and tensor.shape[-2] != counts[kind]:
                raise ValueError(
                    f"{name} has {tensor.shape[-2]} rows but the {what} has {counts[kind]} "
                    f"{words[kind]}."
                )
            if kind == "texture" and getattr(self.geometry, "uv", None) is None:
                raise ValueError(f"{name} is a texture but the {what} has no uv; unwrap it first.")


@dataclass(frozen=True, eq=False)
class BackgroundImage:
    """A picture behind everything.

    Attributes:
        pixels: linear RGB, of the camera's size.
    """

    pixels: Float[Tensor, "*batch h w 3"]

    def own_axes(self) -> dict[str, int]:
        """How many axes of each tensor are not the batch's."""
        return {"pixels": 3}

    def __post_init__(self) -> None:
        if self.pixels.ndim < 3 or self.pixels.shape[-1] != 3:
            raise ValueError(
                f"pixels should be (*batch, h, w, 3) but have shape {tuple(self.pixels.shape)}."
            )


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything that decides an image, but for the camera.

    Every tensor may have batch axes, and all of them broadcast with each other and the camera's.

    Attributes:
        objects: what is in front.
        lights: their effects add up.
        background: what is behind: a colour ``(*batch, 3)``, a picture, a panorama that is seen but
            does not light the objects (list it in ``lights`` too if it should), or None for black.
    """

    objects: tuple[Object, ...]
    lights: tuple[Light, ...] = ()
    background: Float[Tensor, "*batch 3"] | BackgroundImage | EnvironmentMap | None = None

    def own_axes(self) -> dict[str, int]:
        """How many axes of each tensor are not the batch's."""
        return {"background": 1} if isinstance(self.background, Tensor) else {}

    def __post_init__(self) -> None:
        for name in ("objects", "lights"):  # what may be a list to begin with
            object.__setattr__(self, name, tuple(getattr(self, name)))
        behind = self.background
        if isinstance(behind, Tensor) and behind.shape[-1:] != (3,):
            raise ValueError(
                f"background should be a colour (*batch, 3) but has shape {tuple(behind.shape)}; "
                "a picture is a BackgroundImage."
            )

    def to(self, target: torch.device | str) -> "Scene":
        """The same scene on another device."""
        return map_tensors(lambda tensor: tensor.to(target), self)
